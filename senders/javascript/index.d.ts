/** A key that the receiver has, too; the secret has at least 32 bytes. */
export interface Key {
  id: number;
  secret: Uint8Array;
}

export interface Options {
  /** Where the receiver is; "localhost" by default. */
  host?: string;
  /** 9999 by default. */
  port?: number;
  /** The logger's name at the receiver; "root" by default. */
  name?: string;
  /** Waiting records that are sent at once; 50 by default. */
  batchSize?: number;
  /** Milliseconds after which fewer are sent, 1,000 by default; errors are sent at once. */
  flushInterval?: number;
  /** Records that may wait, 10,000 by default; further ones are dropped and counted. */
  capacity?: number;
  /** Bytes, 1,432 by default; a record that needs more is sent in fragments. */
  maxDatagram?: number;
  /** Whether losses are counted, true by default; false sends baseline datagrams. */
  numbered?: boolean;
  key?: Key;
  /** What every record carries. */
  staticFields?: Record<string, unknown>;
}

export type Level = "debug" | "info" | "warning" | "error" | "critical" | (string & {});

export type Extra = Error | Record<string, unknown>;

/** Counts of records; `accepted` is the sum of the other three. */
export interface Stats {
  accepted: number;
  sent: number;
  dropped: number;
  waiting: number;
}

/** Queues records and sends them in batches; nothing here throws because of the network. */
export class BatchSender {
  constructor(options?: Options);
  debug(message: unknown, extra?: Extra): void;
  info(message: unknown, extra?: Extra): void;
  warning(message: unknown, extra?: Extra): void;
  error(message: unknown, extra?: Extra): void;
  /** Queue one record; an Error as message, as extras, or as `extra.error` brings its stack. */
  log(level: Level, message: unknown, extra?: Extra): void;
  /** Queue one row as it is, of the members that the payload specification names. */
  row(row: Record<string, unknown>, isUrgent?: boolean): void;
  /** Send what waits; resolves to whether nothing waits any more. */
  flush(): Promise<boolean>;
  /** Send what waits, take leave of the receiver, and count what is left as dropped. */
  close(): Promise<void>;
  stats(): Stats;
}

/** The fields of one datagram of version 1. */
export interface Fields {
  type: number;
  streamId: bigint | number;
  seq: bigint | number;
  rec: number;
  sealedAt: number;
  records: number;
  body: Uint8Array;
  codec?: number;
  index?: number;
  count?: number;
  key?: Key;
}

/** Return one datagram of version 1. */
export function seal(fields: Fields): Buffer;

/** Return one datagram of the baseline form: codec 0 is JSON, codec 1 a zlib stream. */
export function baseline(codec: 0 | 1, body: Uint8Array): Buffer;

/** Return batches of rows (strings of JSON) that fit `room` bytes or hold a single record. */
export function split(
  rows: string[],
  room: number,
): { codec: number; body: Buffer; count: number }[];

/** The numbers of one one-way stream, and the datagrams made with them. */
export class Stream {
  constructor(key?: Key, maxDatagram?: number);
  maxDatagram: number;
  streamId: bigint;
  seq: number;
  rec: number;
  syncs: number;
  readonly room: number;
  data(codec: number, body: Uint8Array, records: number, sealedAt: number): Buffer[];
  advance(datagrams: number, records: number): void;
  sync(dropped: number, promiseMs: number, sealedAt: number, closing?: boolean): Buffer;
}
