import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Groups of records, sent by kafka-clients as Spring, Streams and Connect use it: `Records ADDRESS FILE`. */
public class Records {
    private static final String TOPIC = "phone-events";

    public static void main(String[] arguments) throws Exception {
        ObjectMapper json = new ObjectMapper();
        for (String line : Files.readAllLines(Path.of(arguments[1]))) {
            JsonNode group = json.readTree(line);
            try {
                send(arguments[0], group);
            } catch (Exception error) {
                System.err.println(group.get("name").asText() + ": " + error);
            }
        }
    }

    private static void send(String address, JsonNode group) throws Exception {
        String transaction = group.get("transaction").asText();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(options(address, group))) {
            if (!transaction.isEmpty()) {
                producer.initTransactions();
                producer.beginTransaction();
            }
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (JsonNode record : group.get("records")) {
                sent.add(producer.send(recordOf(record)));
            }
            producer.flush();
            for (Future<RecordMetadata> one : sent) {
                one.get();
            }
            if (transaction.equals("commit")) {
                producer.commitTransaction();
            } else if (transaction.equals("abort")) {
                producer.abortTransaction();
            }
        }
    }

    private static Properties options(String address, JsonNode group) {
        Properties options = new Properties();
        options.put("bootstrap.servers", address);
        options.put("key.serializer", ByteArraySerializer.class);
        options.put("value.serializer", ByteArraySerializer.class);
        options.put("compression.type", group.get("codec").asText());
        options.put("enable.idempotence", group.get("idempotent").asBoolean());
        options.put("max.request.size", 10_000_000);
        options.put("linger.ms", 100);
        if (!group.get("transaction").asText().isEmpty()) {
            options.put("enable.idempotence", true);
            options.put("transactional.id", "java-" + UUID.randomUUID());
        }
        return options;
    }

    private static ProducerRecord<byte[], byte[]> recordOf(JsonNode record) {
        RecordHeaders headers = new RecordHeaders();
        for (JsonNode header : record.get("headers")) {
            headers.add(header.get(0).asText(), bytes(header.get(1)));
        }
        Long timestamp = record.get("timestamp").isNull() ? null : record.get("timestamp").asLong();
        return new ProducerRecord<>(
                TOPIC, null, timestamp, bytes(record.get("key")), bytes(record.get("value")), headers);
    }

    private static byte[] bytes(JsonNode text) {
        return text.isNull() ? null : Base64.getDecoder().decode(text.asText());
    }
}
