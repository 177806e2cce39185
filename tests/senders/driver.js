// A program around the JavaScript sender that does what its standard input says: see driver.py.
// It also reads datagrams:   read DATAGRAM   the fields of one of version 1, or the reason against it
"use strict";

const { createInterface } = require("node:readline");
const { BatchSender, Stream, baseline, seal } = require("../../senders/javascript");

let sender;

const bytes = (text) => Buffer.from(text === "-" ? "" : text, "hex");
const key = (id, secret) => (Number(id) ? { id: Number(id), secret: bytes(secret) } : undefined);

const commands = {
  seal(type, keyId, secret, codec, streamId, seq, rec, sealedAt, records, index, count, body) {
    const numbers = { streamId: BigInt(streamId), seq: BigInt(seq), rec: Number(rec) };
    const rest = { sealedAt: Number(sealedAt), records: Number(records), index: Number(index) };
    return seal({
      ...numbers, ...rest, type: Number(type), codec: Number(codec), count: Number(count),
      body: bytes(body), key: key(keyId, secret),
    }).toString("hex");
  },

  sync(keyId, secret, streamId, counter, seq, rec, dropped, largest, promise, closing, now) {
    const stream = new Stream(key(keyId, secret), Number(largest));
    stream.streamId = BigInt(streamId);
    [stream.syncs, stream.seq, stream.rec] = [counter, seq, rec].map(Number);
    return stream.sync(Number(dropped), Number(promise), Number(now), closing === "1").toString("hex");
  },

  baseline: (codec, body) => baseline(Number(codec), bytes(body)).toString("hex"),

  open(host, port, maxDatagram, capacity, numbered, keyId, secret) {
    sender = new BatchSender({
      host, port: Number(port), maxDatagram: Number(maxDatagram), capacity: Number(capacity),
      numbered: numbered === "1", key: key(keyId, secret), name: "driver",
    });
    return "ok";
  },

  log(level, text) {
    const name = { 10: "debug", 20: "info", 30: "warning", 40: "error" }[level];
    sender.log(name, bytes(text).toString());
    return "ok";
  },

  row(row) {
    sender.row(JSON.parse(bytes(row).toString()));
    return "ok";
  },

  async flush() {
    await sender.flush();
    return "ok";
  },

  async close() {
    await sender.close();
    return Object.values(sender.stats()).join(" ");
  },

  read: (datagram) => read(bytes(datagram)),
};

const KNOWN_TYPES = [1, 2, 3, 4];

/** Return the fields of a datagram without a key, in the order of the checks of the format. */
function read(datagram) {
  if (datagram.length < 3 || datagram.readUInt16BE(0) !== 0xcbf2) return "malformed";
  if (datagram[2] !== 0x81) return datagram[2] < 0x80 ? readBaseline(datagram) : "unsupported_version";
  if (datagram.length < 42) return "malformed";
  if (!KNOWN_TYPES.includes(datagram[3])) return "unsupported_type";
  if (datagram[7] !== 0) return "unsupported_flags";
  const fields = {
    type: datagram[3], codec: datagram[6], streamId: datagram.readBigUInt64BE(8),
    seq: datagram.readBigUInt64BE(16), rec: datagram.readUInt32BE(24),
    sealedAt: datagram.readUInt32BE(28), records: datagram.readUInt16BE(32),
    index: datagram.readUInt16BE(34), count: datagram.readUInt16BE(36),
    body: datagram.subarray(38, -4),
  };
  if (!seal(fields).equals(datagram)) return "bad_crc";
  return Object.values({ ...fields, body: fields.body.toString("hex") || "-" }).join(" ");
}

function readBaseline(datagram) {
  if (datagram[2] > 1) return "unsupported_flags";
  const isZlib = (datagram[3] & 15) === 8 && datagram.readUInt16BE(3) % 31 === 0;
  if (datagram[2] === 1 && !isZlib) return "malformed";
  return `baseline ${datagram[2]} ${datagram.subarray(3).toString("hex")}`;
}

async function main() {
  for await (const line of createInterface({ input: process.stdin })) {
    const [word, ...rest] = line.split(" ");
    console.log(await commands[word](...rest));
  }
}

main();
