'use strict';
// The groups of a file, one at a time: what one complains of does not hide the next.
const fs = require('fs');

const bytes = (text) => (text === null ? null : Buffer.from(text, 'base64'));

async function forEachGroup(file, send) {
  for (const line of fs.readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
    const group = JSON.parse(line);
    for (const record of group.records) {
      record.key = bytes(record.key);
      record.value = bytes(record.value);
      record.headers = record.headers.map(([name, value]) => [name, bytes(value)]);
    }
    try {
      await send(group);
    } catch (error) {
      console.error(`${group.name}: ${error.message}`);
    }
  }
}

module.exports = { forEachGroup };
