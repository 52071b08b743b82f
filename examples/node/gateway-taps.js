'use strict';
// Publishes taps, one JSON object per line of standard input: `node gateway-taps.js URL structured|binary|batched`.
// To the HTTP gateway, with the CloudEvents SDK and Node's own client. The API key is in the environment variable
// PHONEMETER_KEY.
const readline = require('node:readline');
const { setTimeout } = require('node:timers/promises');
const { CloudEvent, HTTP } = require('cloudevents');
const { idOf } = require('./taps.js');

// Too many requests, or Kafka is away: nothing is wrong with the events.
const AGAIN = [409, 429, 503];
const ATTEMPTS_MAX = 10;

function eventOf({ appid, code, time, ...data }) {
  return new CloudEvent({
    id: idOf(appid, code),
    source: '/examples/node',
    type: 'phone.authorization.succeeded',
    subject: appid,
    time,
    datacontenttype: 'application/json',
    data,
  });
}

// The SDK has no batches: one is the JSON array of structured events.
function batchOf(events) {
  const members = events.map((event) => HTTP.structured(event).body);
  return { headers: { 'content-type': 'application/cloudevents-batch+json' }, body: `[${members.join(',')}]` };
}

// Sends a request until its events are stored. Sending them again is harmless: their ids are the same.
async function send(url, message) {
  const headers = { ...message.headers, authorization: `Bearer ${process.env.PHONEMETER_KEY}` };
  for (let attempt = 1; ; attempt += 1) {
    const answer = await fetch(url, { method: 'POST', headers, body: message.body });
    const text = await answer.text();
    if (answer.ok) return;
    if (!AGAIN.includes(answer.status) || attempt === ATTEMPTS_MAX) throw new Error(`${answer.status} ${text}`);
    await setTimeout(1000 * Number(answer.headers.get('retry-after') ?? 1));
  }
}

async function main(url, mode) {
  const events = [];
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      events.push(eventOf(JSON.parse(line)));
    } catch (error) {
      console.error(error.message);
    }
  }
  if (mode === 'batched') await send(url, batchOf(events));
  else for (const event of events) await send(url, HTTP[mode](event));
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
