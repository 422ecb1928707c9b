// Reads an archive of mongodump from standard input, by the description of the format and with MongoDB's own bson
// package: a reader that shares nothing with Postern's. Prints what it found as JSON, or fails.
import { readFileSync } from "node:fs";
import { BSON } from "bson";

const bytes = readFileSync(0);
let at = 0;

const fail = (what) => {
  throw new Error(`at byte ${at}: ${what}`);
};

// A document, or null for the terminator.
const next = () => {
  const length = bytes.readInt32LE(at);
  if (length === -1) {
    at += 4;
    return null;
  }
  const raw = bytes.subarray(at, at + length);
  if (raw.length !== length) fail("cut off");
  at += length;
  return { raw, value: BSON.deserialize(raw, { useBigInt64: true }) };
};

// CRC-64/XZ, bit by bit.
const crc64 = (crc, raw) => {
  for (const byte of raw) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1n) ^ (crc & 1n ? 0xc96c5795d7870f42n : 0n);
  }
  return crc;
};
const START = 0xffffffffffffffffn;

if (bytes.readUInt32LE(at) !== 0x8199e26d) fail("no archive");
at += 4;
const header = next().value;
const collections = new Map();
for (let found = next(); found; found = next()) {
  const { db, collection, metadata } = found.value;
  collections.set(`${db}.${collection}`, { metadata: BSON.EJSON.parse(metadata), documents: 0, crc: START, ended: false });
}
while (at < bytes.length) {
  const { db, collection, EOF, CRC } = next().value;
  const found = collections.get(`${db}.${collection}`) ?? fail("unknown collection");
  if (found.ended) fail("a block after the end");
  for (let document = next(); document; document = next()) {
    if (EOF) fail("a document in an end");
    found.documents += 1;
    found.crc = crc64(found.crc, document.raw);
  }
  if (!EOF) continue;
  if (BigInt.asIntN(64, found.crc ^ START) !== CRC) fail(`checksum of ${collection}`);
  found.ended = true;
}
const result = {};
for (const [name, { metadata, documents, ended }] of collections) {
  if (!ended) fail(`${name} did not end`);
  const indexes = metadata.indexes.map((index) => [index.name, Object.keys(index.key), index.unique ?? false]);
  result[name] = { documents, indexes, capped: metadata.options.capped ?? false };
}
console.log(JSON.stringify({ version: header.version, collections: result }));
