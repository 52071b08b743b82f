import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.core.data.BytesCloudEventData;
import io.cloudevents.core.message.Encoding;
import io.cloudevents.jackson.JsonFormat;
import io.cloudevents.kafka.CloudEventSerializer;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.OffsetDateTime;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Groups of events, encoded by the CloudEvents SDK of Java: `CloudEvents ADDRESS FILE`. */
public class CloudEvents {
    public static void main(String[] arguments) throws Exception {
        ObjectMapper json = new ObjectMapper();
        for (String line : Files.readAllLines(Path.of(arguments[1]))) {
            JsonNode group = json.readTree(line);
            Properties options = new Properties();
            options.put("bootstrap.servers", arguments[0]);
            options.put("key.serializer", StringSerializer.class);
            options.put("value.serializer", CloudEventSerializer.class);
            // Its default is the binary mode.
            if (group.get("mode").asText().equals("structured")) {
                options.put(CloudEventSerializer.ENCODING_CONFIG, Encoding.STRUCTURED);
                options.put(CloudEventSerializer.EVENT_FORMAT_CONFIG, JsonFormat.CONTENT_TYPE);
            }
            try (KafkaProducer<String, CloudEvent> producer = new KafkaProducer<>(options)) {
                for (JsonNode record : group.get("records")) {
                    JsonNode event = record.get("event");
                    String app = event.get("subject").asText();
                    producer.send(new ProducerRecord<>("phone-events", app, eventOf(json, event))).get();
                }
            }
        }
    }

    private static CloudEvent eventOf(ObjectMapper json, JsonNode event) throws Exception {
        return CloudEventBuilder.v1()
                .withId(event.get("id").asText())
                .withSource(URI.create(event.get("source").asText()))
                .withType(event.get("type").asText())
                .withSubject(event.get("subject").asText())
                .withTime(OffsetDateTime.parse(event.get("time").asText()))
                .withData("application/json", BytesCloudEventData.wrap(json.writeValueAsBytes(event.get("data"))))
                .build();
    }
}
