'use strict';
// Ids and partitions against docs/reference/conformance.jsonl: `node --test`.
const assert = require('node:assert');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { test } = require('node:test');
const { Partitioners } = require('kafkajs');
const { idOf } = require('./taps.js');

const file = process.env.CONFORMANCE || join(__dirname, '../../docs/reference/conformance.jsonl');
const lines = readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line));

for (const { name, appid, code, expected } of lines.filter(({ check }) => check === 'id')) {
  test(name, () => {
    if (expected.refused) assert.throws(() => idOf(appid, code));
    else assert.strictEqual(idOf(appid, code), expected.id);
  });
}

const partitioner = Partitioners.DefaultPartitioner();
for (const { name, key, partitions, expected } of lines.filter(({ check }) => check === 'partition')) {
  test(name, () => {
    const partitionMetadata = Array.from({ length: partitions }, (_, partitionId) => ({ partitionId, leader: 0 }));
    const partition = partitioner({ topic: 'phone-events', partitionMetadata, message: { key } });
    assert.strictEqual(partition, expected.partition);
  });
}
