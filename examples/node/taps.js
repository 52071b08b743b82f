'use strict';
// Publishes taps, one JSON object per line of standard input: `node taps.js ADDRESS structured|binary`.
const { createHash } = require('node:crypto');
const readline = require('node:readline');
const { Kafka, Partitioners, logLevel } = require('kafkajs');

// The idempotency key: a retry with the same code is the same call.
function idOf(appid, code) {
  if (typeof code !== 'string' || ['', 'None', 'null', 'undefined'].includes(code.trim())) {
    throw new Error('A tap without a code was left out: all such taps would be one call.');
  }
  return createHash('sha256').update(`${appid}:${code}`, 'utf8').digest('hex');
}

function messageOf({ appid, code, time, ...data }, mode) {
  const attributes = {
    specversion: '1.0',
    id: idOf(appid, code),
    source: '/examples/node',
    type: 'phone.authorization.succeeded',
    subject: appid,
    time,
  };
  if (mode === 'structured') {
    const event = { ...attributes, datacontenttype: 'application/json', data };
    return {
      key: appid,
      value: JSON.stringify(event),
      headers: { 'content-type': 'application/cloudevents+json' },
    };
  }
  const headers = { 'content-type': 'application/json' };
  for (const [name, text] of Object.entries(attributes)) headers[`ce_${name}`] = text;
  return { key: appid, value: JSON.stringify(data), headers };
}

async function main(address, mode) {
  const kafka = new Kafka({ clientId: 'taps', brokers: [address], logLevel: logLevel.ERROR });
  // This one is murmur2 of the key, as in Java.
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, idempotent: true });
  await producer.connect();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let message;
    try {
      message = messageOf(JSON.parse(line), mode);
    } catch (error) {
      console.error(error.message);
      continue;
    }
    await producer.send({ topic: 'phone-events', acks: -1, messages: [message] });
  }
  await producer.disconnect();
}

if (require.main === module) {
  main(...process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}

module.exports = { idOf };
