'use strict';
// Groups of records, sent by kafkajs, whose own partitioner is Java's: `kafkajs.js ADDRESS FILE`.
const { CompressionTypes, Kafka, Partitioners, logLevel } = require('kafkajs');
const { forEachGroup } = require('./groups.js');

const TOPIC = 'phone-events';
const [, , address, file] = process.argv;
const kafka = new Kafka({ clientId: 'matrix', brokers: [address], logLevel: logLevel.NOTHING });

const messageOf = (record) => {
  const headers = {};
  for (const [name, value] of record.headers) {
    // Two of one name are an array.
    headers[name] = name in headers ? [headers[name], value].flat() : value;
  }
  const time = record.timestamp === null ? {} : { timestamp: String(record.timestamp) };
  return { key: record.key, value: record.value, headers, ...time };
};

async function send(group) {
  const producer = kafka.producer({
    createPartitioner: Partitioners.DefaultPartitioner,
    idempotent: group.idempotent || group.transaction !== '',
    maxInFlightRequests: group.transaction ? 1 : undefined,
    transactionalId: group.transaction ? `kafkajs-${process.hrtime.bigint()}` : undefined,
  });
  await producer.connect();
  try {
    const batch = {
      topic: TOPIC,
      acks: -1,
      compression: group.codec === 'gzip' ? CompressionTypes.GZIP : CompressionTypes.None,
      messages: group.records.map(messageOf),
    };
    if (!group.transaction) {
      await producer.send(batch);
      return;
    }
    const transaction = await producer.transaction();
    await transaction.send(batch);
    await (group.transaction === 'commit' ? transaction.commit() : transaction.abort());
  } finally {
    await producer.disconnect();
  }
}

forEachGroup(file, send);
