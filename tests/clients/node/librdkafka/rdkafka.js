'use strict';
// Groups of records, sent by node-rdkafka, whose own partitioner is librdkafka's CRC32: `rdkafka.js ADDRESS FILE`.
const { HighLevelProducer } = require('node-rdkafka');
const { promisify } = require('util');
const { forEachGroup } = require('../groups.js');

const TOPIC = 'phone-events';
const TIMEOUT_MS = 30000;
const BYTES_MAX = 10000000;
const [, , address, file] = process.argv;

async function send(group) {
  const options = {
    'metadata.broker.list': address,
    'compression.codec': group.codec,
    'enable.idempotence': group.idempotent || group.transaction !== '',
    'message.max.bytes': BYTES_MAX,
  };
  if (group.transaction) {
    options['transactional.id'] = `node-rdkafka-${process.hrtime.bigint()}`;
  }
  const partitioner = group.partitioner === 'murmur2' ? { partitioner: 'murmur2_random' } : {};
  const producer = new HighLevelProducer(options, partitioner);
  const call = (name, ...values) => promisify(producer[name]).call(producer, ...values);
  await call('connect', {});
  try {
    if (group.transaction) {
      await call('initTransactions', TIMEOUT_MS);
      await call('beginTransaction');
    }
    await Promise.all(
      group.records.map((record) =>
        call(
          'produce',
          TOPIC,
          null,
          record.value,
          record.key,
          record.timestamp,
          record.headers.map(([name, value]) => ({ [name]: value })),
        ),
      ),
    );
    if (group.transaction) {
      await call(group.transaction === 'commit' ? 'commitTransaction' : 'abortTransaction', TIMEOUT_MS);
    }
  } finally {
    await call('disconnect');
  }
}

forEachGroup(file, send);
