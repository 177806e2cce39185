// Ships log records in batches over UDP to a batchudp receiver, without dependencies.
//
// It speaks one-way delivery of version 1: numbered datagrams, so that the receiver counts what the
// network lost, and SYNC datagrams, which tell it what this side had to drop.
"use strict";

const { createHmac, randomBytes } = require("node:crypto");
const dgram = require("node:dgram");
const { hostname } = require("node:os");
const { deflateSync } = require("node:zlib");

const DATA = 1;
const SYNC = 3;
const HEADER_BYTES = 38;
const SYNC_DATAGRAM = 128; // bytes, all of it: nobody who answers a SYNC sends more than came

const MAX_ROW = 1_000_000; // bytes; a receiver refuses batches above 1 MiB
const MAX_RECORDS = 1024; // of one batch
const SMALLEST = 508; // bytes of a datagram that every path carries
const IDLE_SYNCS = [1000, 10_000, 60_000]; // milliseconds after the last DATA, then between SYNCs
const RETRY_MS = 100;

const LEVELS = { debug: 10, info: 20, warning: 30, error: 40, critical: 50 };

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

/** Return the CRC32 of a buffer, as zlib computes it. */
function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Return one datagram of version 1; the key is undefined or `{ id, secret }`. */
function seal({ type, streamId, seq, rec, sealedAt, records, body, codec = 0, index = 0, count = 1, key }) {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(0xcbf28100 + type, 0);
  header.writeUInt16BE(key ? key.id : 0, 4);
  header.writeUInt8(codec, 6);
  header.writeBigUInt64BE(BigInt(streamId), 8);
  header.writeBigUInt64BE(BigInt(seq), 16);
  header.writeUInt32BE(rec, 24);
  header.writeUInt32BE(sealedAt, 28);
  header.writeUInt16BE(records, 32);
  header.writeUInt16BE(index, 34);
  header.writeUInt16BE(count, 36);
  const signed = Buffer.concat([header, body]);
  return Buffer.concat([signed, key ? tag(signed, key) : checksum(signed)]);
}

function checksum(bytes) {
  const trailer = Buffer.alloc(4);
  trailer.writeUInt32BE(crc32(bytes));
  return trailer;
}

function tag(bytes, { secret }) {
  const out = createHmac("sha256", secret).update("bu1 s2r").digest();
  return createHmac("sha256", out).update(bytes).digest().subarray(0, 16);
}

/** Return one datagram of the baseline form: codec 0 is JSON, codec 1 a zlib stream. */
function baseline(codec, body) {
  return Buffer.concat([Buffer.from([0xcb, 0xf2, codec]), body]);
}

/** Return batches of rows (strings of JSON) that fit `room` bytes or hold a single record. */
function split(rows, room) {
  const raw = Buffer.from(`[${rows.join(",")}]`);
  if (rows.length === 1 || (raw.length <= 16 * room && rows.length <= MAX_RECORDS)) {
    const packed = deflateSync(raw);
    const [codec, body] = packed.length < raw.length ? [1, packed] : [0, raw];
    if (rows.length === 1 || body.length <= room) return [{ codec, body, count: rows.length }];
  }
  const half = rows.length >> 1;
  return [...split(rows.slice(0, half), room), ...split(rows.slice(half), room)];
}

/** The numbers of one one-way stream, and the datagrams made with them. */
class Stream {
  constructor(key, maxDatagram = 1432) {
    this.key = key;
    this.maxDatagram = maxDatagram;
    this.tagBytes = key ? 16 : 4;
    this.streamId = randomBytes(8).readBigUInt64BE();
    this.seq = 0;
    this.rec = 0;
    this.syncs = 0;
  }

  /** Bytes of a body that fit one datagram. */
  get room() {
    return this.maxDatagram - HEADER_BYTES - this.tagBytes;
  }

  /** Return the datagrams of one batch; more than one are its fragments. */
  data(codec, body, records, sealedAt) {
    const { streamId, seq, rec, room, key } = this;
    const count = Math.max(1, Math.ceil(body.length / room));
    return Array.from({ length: count }, (_, index) => {
      const piece = body.subarray(index * room, (index + 1) * room);
      const numbers = { type: DATA, streamId, seq: seq + index, rec, sealedAt, records };
      return seal({ ...numbers, body: piece, codec, index, count, key });
    });
  }

  /** Use up the numbers of a batch that is being sent. */
  advance(datagrams, records) {
    this.seq += datagrams;
    this.rec = (this.rec + records) % 2 ** 32;
  }

  /** Return a SYNC that tells how many records there were and how many were dropped. */
  sync(dropped, promiseMs, sealedAt, closing = false) {
    const body = Buffer.alloc(SYNC_DATAGRAM - HEADER_BYTES - this.tagBytes);
    body.writeUInt8(closing ? 2 : 0, 0);
    body.writeUInt16BE(this.maxDatagram, 2);
    body.writeBigUInt64BE(BigInt(this.seq), 4);
    body.writeBigUInt64BE(BigInt(this.seq), 12); // the floor: this side holds nothing
    body.writeUInt32BE(this.rec, 20);
    body.writeUInt32BE(dropped % 2 ** 32, 24);
    body.writeUInt32BE(promiseMs, 52);
    const { streamId, key } = this;
    return seal({ type: SYNC, streamId, seq: this.syncs++, rec: 0, sealedAt, records: 0, body, key });
  }
}

/** Queues records and sends them in batches; nothing here throws because of the network. */
class BatchSender {
  constructor({
    host = "localhost", port = 9999, name = "root", batchSize = 50, flushInterval = 1000,
    capacity = 10_000, maxDatagram = 1432, numbered = true, key, staticFields = {},
  } = {}) {
    Object.assign(this, { host, port, name, batchSize, flushInterval, capacity, numbered });
    this.origin = { hostname: hostname(), process: process.pid };
    this.staticFields = { ...staticFields };
    this.stream = new Stream(key, maxDatagram);
    this.waiting = [];
    this.counts = { accepted: 0, sent: 0, dropped: 0 };
    this.idleSyncs = 0;
    this.turn = Promise.resolve();
    this.isClosed = false;
  }

  debug(message, extra) { this.log("debug", message, extra); }
  info(message, extra) { this.log("info", message, extra); }
  warning(message, extra) { this.log("warning", message, extra); }
  error(message, extra) { this.log("error", message, extra); }

  /** Queue one record; an Error as message, as extras, or as `extra.error` brings its stack. */
  log(level, message, extra) {
    const levelname = String(level).toUpperCase();
    const levelno = LEVELS[String(level).toLowerCase()] ?? LEVELS.info;
    const given = extra instanceof Error ? { error: extra } : extra;
    const { error = message instanceof Error ? message : undefined, ...rest } = given ?? {};
    const row = { created: Date.now() / 1000, levelname, levelno, name: this.name };
    row.message = isPlainObject(message) ? message : String(message);
    if (error) row.exc_text = String(error.stack ?? error);
    Object.assign(row, this.origin, { extra: { ...this.staticFields, ...rest } });
    this.row(row, levelno >= LEVELS.error);
  }

  /** Queue one row as it is, of the members that the payload specification names. */
  row(row, isUrgent = false) {
    const text = toJSON(row);
    this.counts.accepted++;
    if (this.isClosed || this.waiting.length >= this.capacity || Buffer.byteLength(text) > MAX_ROW) {
      this.counts.dropped++;
      return;
    }
    this.waiting.push(text);
    if (isUrgent || this.waiting.length >= this.batchSize) this.#schedule(0);
    else this.#schedule(this.flushInterval);
  }

  /** Send what waits; resolves to whether nothing waits any more. */
  flush() {
    this.turn = this.turn.then(() => this.#send()).catch(() => false).then((isSent) => {
      if (!isSent) this.#schedule(RETRY_MS);
    });
    return this.turn.then(() => this.waiting.length === 0);
  }

  /** Send what waits, take leave of the receiver, and count what is left as dropped. */
  async close() {
    if (this.isClosed) return;
    this.isClosed = true;
    await this.flush();
    this.counts.dropped += this.waiting.splice(0).length;
    clearTimeout(this.flushTimer);
    clearTimeout(this.syncTimer);
    for (const pause of [50, 0]) {
      await this.#sync(true);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    clearTimeout(this.syncTimer);
    this.#dropSocket();
  }

  /** Return counts of records; accepted is the sum of the other three. */
  stats() {
    return { ...this.counts, waiting: this.counts.accepted - this.counts.sent - this.counts.dropped };
  }

  #schedule(milliseconds) {
    const at = Date.now() + milliseconds;
    if (this.flushTimer && this.flushAt <= at) return;
    clearTimeout(this.flushTimer);
    this.flushAt = at;
    this.flushTimer = setTimeout(() => {
      this.flushTimer = undefined;
      this.flush();
    }, milliseconds);
    this.flushTimer.unref();
  }

  /** Send batches until nothing waits or one fails, which keeps it; resolves to whether none did. */
  async #send() {
    const { stream } = this;
    if (this.waiting.length && stream.syncs === 0) await this.#sync();
    const rows = this.waiting.splice(0);
    for (const { codec, body, count } of rows.length ? split(rows, stream.room) : []) {
      const datagrams = this.numbered
        ? stream.data(codec, body, count, seconds())
        : [baseline(codec, body)];
      if (!(await this.#transmit(datagrams[0]))) {
        this.waiting.unshift(...rows);
        return false;
      }
      stream.advance(datagrams.length, count);
      this.counts.sent += rows.splice(0, count).length;
      this.#syncIn(0);
      for (const datagram of datagrams.slice(1)) await this.#transmit(datagram);
    }
    return true;
  }

  async #sync(closing = false) {
    if (!this.numbered) return;
    const promise = this.#syncIn(this.idleSyncs + 1);
    await this.#transmit(this.stream.sync(this.counts.dropped, promise, seconds(), closing));
  }

  #syncIn(step) {
    this.idleSyncs = Math.min(step, IDLE_SYNCS.length - 1);
    clearTimeout(this.syncTimer);
    this.syncTimer = setTimeout(() => this.#sync(), IDLE_SYNCS[this.idleSyncs]).unref();
    return IDLE_SYNCS[this.idleSyncs];
  }

  /** Send one datagram; resolves to whether the system took it. */
  async #transmit(datagram) {
    try {
      if (!this.socket) {
        this.socket = dgram.createSocket(this.host.includes(":") ? "udp6" : "udp4").unref();
        this.socket.on("error", () => this.#dropSocket());
      }
      const { socket, port, host } = this;
      await new Promise((resolve, reject) => {
        socket.send(datagram, port, host, (error) => (error ? reject(error) : resolve()));
      });
      return true;
    } catch (error) {
      if (error.code === "EMSGSIZE") {
        this.stream.maxDatagram = Math.max(SMALLEST, Math.trunc(this.stream.maxDatagram * 0.75));
      }
      return false;
    }
  }

  #dropSocket() {
    this.socket?.close();
    this.socket = undefined;
  }
}

const isPlainObject = (value) => value?.constructor === Object || Array.isArray(value);
const seconds = () => Math.trunc(Date.now() / 1000);

/** Return a row as JSON; one that holds cycles or big integers keeps its message only. */
function toJSON(row) {
  try {
    return JSON.stringify(row);
  } catch {
    const extra = { not_encoded: Object.keys(row.extra ?? {}).join(" ") };
    return JSON.stringify({ ...row, message: String(row.message), extra });
  }
}

module.exports = { BatchSender, Stream, baseline, seal, split };
