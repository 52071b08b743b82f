//! Groups of records, sent by rdkafka, whose own partitioner is librdkafka's CRC32: `records ADDRESS FILE`.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{engine::general_purpose::STANDARD, Engine};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use serde::Deserialize;
use std::sync::{Arc, Mutex};

const TOPIC: &str = "phone-events";
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Group {
    name: String,
    codec: String,
    partitioner: String,
    idempotent: bool,
    transaction: String,
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
    timestamp: Option<i64>,
}

/// What was not delivered, as librdkafka tells it in a thread of its own.
#[derive(Clone, Default)]
struct Refused(Arc<Mutex<Vec<String>>>);

impl ClientContext for Refused {}

impl ProducerContext for Refused {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult, _: ()) {
        if let Err((error, _)) = result {
            self.0.lock().unwrap().push(error.to_string());
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    for line in std::fs::read_to_string(&arguments[2])?.lines() {
        let group: Group = serde_json::from_str(line)?;
        if let Err(error) = send(&arguments[1], &group) {
            // One group must not hide the next.
            eprintln!("{}: {error}", group.name);
        }
    }
    Ok(())
}

fn send(address: &str, group: &Group) -> Result<(), Box<dyn Error>> {
    let refused = Refused::default();
    let producer: ThreadedProducer<Refused> =
        options(address, group)?.create_with_context(refused.clone())?;
    if !group.transaction.is_empty() {
        producer.init_transactions(TIMEOUT)?;
        producer.begin_transaction()?;
    }
    for record in &group.records {
        let (key, value) = (bytes(&record.key)?, bytes(&record.value)?);
        let mut headers = OwnedHeaders::new();
        for (name, text) in &record.headers {
            let value = bytes(text)?;
            headers = headers.insert(Header {
                key: name,
                value: value.as_ref(),
            });
        }
        let mut message = BaseRecord::<Vec<u8>, Vec<u8>>::to(TOPIC).headers(headers);
        if let Some(key) = &key {
            message = message.key(key);
        }
        if let Some(value) = &value {
            message = message.payload(value);
        }
        if let Some(time) = record.timestamp {
            message = message.timestamp(time);
        }
        producer.send(message).map_err(|(error, _)| error)?;
    }
    producer.flush(TIMEOUT)?;
    match group.transaction.as_str() {
        "commit" => producer.commit_transaction(TIMEOUT)?,
        "abort" => producer.abort_transaction(TIMEOUT)?,
        _ => {}
    }
    let refused = refused.0.lock().unwrap();
    refused
        .first()
        .map_or(Ok(()), |first| Err(first.clone().into()))
}

fn options(address: &str, group: &Group) -> Result<ClientConfig, Box<dyn Error>> {
    let mut options = ClientConfig::new();
    options
        .set("bootstrap.servers", address)
        .set("compression.type", &group.codec)
        .set("message.max.bytes", "10000000")
        .set("enable.idempotence", group.idempotent.to_string());
    if group.partitioner == "murmur2" {
        options.set("partitioner", "murmur2_random");
    }
    if !group.transaction.is_empty() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        options.set("enable.idempotence", "true");
        options.set("transactional.id", format!("rdkafka-{now}"));
    }
    Ok(options)
}

fn bytes(text: &Option<String>) -> Result<Option<Vec<u8>>, base64::DecodeError> {
    text.as_ref().map(|text| STANDARD.decode(text)).transpose()
}
