'use strict';
// Groups of events, encoded by the CloudEvents SDK of JavaScript and sent by kafkajs: `cloudevents.js ADDRESS FILE`.
const { CloudEvent, Kafka: binding } = require('cloudevents');
const { Kafka, logLevel } = require('kafkajs');
const { forEachGroup } = require('./groups.js');

const [, , address, file] = process.argv;
const producer = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING }).producer();

async function send(group) {
  await producer.connect();
  for (const record of group.records) {
    const event = new CloudEvent({ ...record.event, partitionkey: record.event.subject });
    const message = binding[group.mode](event);
    const headers = Object.entries(message.headers).filter(([, value]) => value !== undefined);
    const value = message.value;
    await producer.send({
      topic: 'phone-events',
      messages: [
        {
          key: message.key,
          value: Buffer.isBuffer(value) || typeof value === 'string' ? value : JSON.stringify(value),
          headers: Object.fromEntries(headers.map(([name, text]) => [name, String(text)])),
        },
      ],
    });
  }
  await producer.disconnect();
}

forEachGroup(file, send);
