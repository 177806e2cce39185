-- A Wireshark dissector for the datagrams of batchudp-handler, protocol version 1.
--
-- Copy it into Wireshark's folder of personal plugins, or name it on the command line:
--   tshark -X lua_script:batchudp.lua -r capture.pcap
-- It shows headers, SYNCs and ACKs. Payloads are compressed with a preset dictionary, which
-- Wireshark cannot undo: `batchudp-receive decode` shows the records.

local batchudp = Proto("batchudp", "Batched log records over UDP")

local HEADER_SIZE, CRC_SIZE, TAG_SIZE = 38, 4, 16
local TYPES = { [1] = "DATA", [2] = "DATA (acknowledged)", [3] = "SYNC", [4] = "ACK" }
local CODECS = { [0] = "JSON", [1] = "zlib", [2] = "zlib with dictionary", [3] = "zstd" }

local f = {
    version = ProtoField.uint8("batchudp.version", "Version", base.HEX),
    type = ProtoField.uint8("batchudp.type", "Type", base.DEC, TYPES),
    key = ProtoField.uint16("batchudp.key", "Key", base.DEC),
    codec = ProtoField.uint8("batchudp.codec", "Codec", base.DEC, CODECS),
    flags = ProtoField.uint8("batchudp.flags", "Flags", base.HEX),
    stream = ProtoField.uint64("batchudp.stream", "Stream", base.HEX),
    seq = ProtoField.uint64("batchudp.seq", "Sequence number", base.DEC),
    rec = ProtoField.uint32("batchudp.rec", "First record", base.DEC),
    sealed_at = ProtoField.absolute_time("batchudp.sealed_at", "Sealed at", base.UTC),
    n_rec = ProtoField.uint16("batchudp.n_rec", "Records", base.DEC),
    frag_index = ProtoField.uint16("batchudp.frag_index", "Fragment", base.DEC),
    frag_count = ProtoField.uint16("batchudp.frag_count", "Fragments", base.DEC),
    payload = ProtoField.bytes("batchudp.payload", "Payload"),
    trailer = ProtoField.bytes("batchudp.trailer", "Checksum or tag"),
    closing = ProtoField.bool("batchudp.closing", "Closing"),
    acknowledged = ProtoField.bool("batchudp.acknowledged", "Acknowledged"),
    resumed = ProtoField.bool("batchudp.resumed", "Resumed"),
    challenge = ProtoField.bool("batchudp.challenge", "Challenge"),
    max_datagram = ProtoField.uint16("batchudp.max_datagram", "Largest datagram", base.DEC),
    next_seq = ProtoField.uint64("batchudp.next_seq", "Next sequence number", base.DEC),
    floor = ProtoField.uint64("batchudp.floor", "Floor", base.DEC),
    next_rec = ProtoField.uint32("batchudp.next_rec", "Next record", base.DEC),
    dropped = ProtoField.uint32("batchudp.dropped", "Dropped by the sender", base.DEC),
    epoch = ProtoField.uint64("batchudp.epoch", "Receiver's epoch", base.HEX),
    cookie = ProtoField.bytes("batchudp.cookie", "Cookie"),
    promise = ProtoField.uint32("batchudp.promise", "Next SYNC within (ms)", base.DEC),
    credit = ProtoField.uint32("batchudp.credit", "Credit (bytes)", base.DEC),
    rejected = ProtoField.uint32("batchudp.rejected", "Rejected records", base.DEC),
    delivered = ProtoField.uint32("batchudp.delivered", "Delivered records", base.DEC),
    bitmap = ProtoField.bytes("batchudp.bitmap", "Received above the floor"),
}
batchudp.fields = f

local function is_ours(buffer)
    return buffer:len() > HEADER_SIZE and buffer(0, 3):uint() == 0xcbf281
end

local function add_sync(tree, body)
    local flags = body(0, 1):uint()
    tree:add(f.acknowledged, body(0, 1), bit.band(flags, 1) ~= 0)
    tree:add(f.closing, body(0, 1), bit.band(flags, 2) ~= 0)
    tree:add(f.resumed, body(0, 1), bit.band(flags, 4) ~= 0)
    tree:add(f.max_datagram, body(2, 2))
    tree:add(f.next_seq, body(4, 8))
    tree:add(f.floor, body(12, 8))
    tree:add(f.next_rec, body(20, 4))
    tree:add(f.dropped, body(24, 4))
    tree:add(f.epoch, body(28, 8))
    tree:add(f.cookie, body(36, 16))
    tree:add(f.promise, body(52, 4))
end

local function add_ack(tree, body)
    local flags = body(0, 1):uint()
    local is_challenge = bit.band(flags, 1) ~= 0
    tree:add(f.challenge, body(0, 1), is_challenge)
    tree:add(f.closing, body(0, 1), bit.band(flags, 2) ~= 0)
    tree:add(f.epoch, body(4, 8))
    tree:add(f.floor, body(12, 8))
    tree:add(f.credit, body(20, 4))
    tree:add(f.rejected, body(24, 4))
    tree:add(f.delivered, body(28, 4))
    if body:len() > 32 then
        tree:add(is_challenge and f.cookie or f.bitmap, body(32))
    end
end

local function add_header(tree, buffer)
    tree:add(f.version, buffer(2, 1))
    tree:add(f.type, buffer(3, 1))
    tree:add(f.key, buffer(4, 2))
    tree:add(f.codec, buffer(6, 1))
    tree:add(f.flags, buffer(7, 1))
    tree:add(f.stream, buffer(8, 8))
    tree:add(f.seq, buffer(16, 8))
    tree:add(f.rec, buffer(24, 4))
    tree:add(f.sealed_at, buffer(28, 4))
    tree:add(f.n_rec, buffer(32, 2))
    tree:add(f.frag_index, buffer(34, 2))
    tree:add(f.frag_count, buffer(36, 2))
end

local function summary(buffer)
    local kind = buffer(3, 1):uint()
    local text = TYPES[kind] or ("type " .. kind)
    if kind <= 2 then
        text = text .. " seq " .. buffer(16, 8):uint64():tonumber() .. ", " .. buffer(32, 2):uint() .. " records"
        if buffer(36, 2):uint() > 1 then
            text = text .. ", fragment " .. (buffer(34, 2):uint() + 1) .. " of " .. buffer(36, 2):uint()
        end
    end
    return text
end

function batchudp.dissector(buffer, pinfo, root)
    if not is_ours(buffer) then
        return 0
    end
    local trailer = buffer(4, 2):uint() == 0 and CRC_SIZE or TAG_SIZE
    local length = buffer:len() - HEADER_SIZE - trailer
    if length < 0 then
        return 0
    end
    pinfo.cols.protocol = "BATCHUDP"
    pinfo.cols.info = summary(buffer)
    local tree = root:add(batchudp, buffer(), "Batched log records, " .. summary(buffer))
    add_header(tree, buffer)
    local kind = buffer(3, 1):uint()
    if kind == 3 and length >= 56 then
        add_sync(tree, buffer(HEADER_SIZE, length))
    elseif kind == 4 and length >= 32 then
        add_ack(tree, buffer(HEADER_SIZE, length))
    elseif length > 0 then
        tree:add(f.payload, buffer(HEADER_SIZE, length))
    end
    tree:add(f.trailer, buffer(HEADER_SIZE + length))
    return buffer:len()
end

batchudp:register_heuristic("udp", function(buffer, pinfo, root)
    if not is_ours(buffer) then
        return false
    end
    return batchudp.dissector(buffer, pinfo, root) > 0
end)
