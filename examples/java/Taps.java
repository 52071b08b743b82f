import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Scanner;
import java.util.Set;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Publishes taps, one JSON object per line of standard input: `Taps ADDRESS structured|binary`.
 *
 * <p>Needs org.apache.kafka:kafka-clients:4.3.1 and com.fasterxml.jackson.core:jackson-databind:2.15.2.
 */
public class Taps {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** What a missing code becomes on its way. */
    private static final Set<String> NO_CODES = Set.of("", "None", "null", "undefined");

    public static void main(String[] arguments) throws Exception {
        Properties options = new Properties();
        options.put("bootstrap.servers", arguments[0]);
        options.put("acks", "all");
        options.put("enable.idempotence", true);
        // The partitioner stays the default one, which is murmur2 of the key.
        try (KafkaProducer<String, byte[]> producer =
                        new KafkaProducer<>(options, new StringSerializer(), new ByteArraySerializer());
                Scanner lines = new Scanner(System.in, StandardCharsets.UTF_8)) {
            while (lines.hasNextLine()) {
                Map<?, ?> tap = JSON.readValue(lines.nextLine(), Map.class);
                if (!(tap.get("code") instanceof String code) || NO_CODES.contains(code.strip())) {
                    System.err.println("A tap without a code was left out: all such taps would be one call.");
                    continue;
                }
                // Waits for the broker's answer. A back end would hand a callback over instead.
                producer.send(recordOf(tap, code, arguments[1].equals("binary"))).get();
            }
        }
    }

    static ProducerRecord<String, byte[]> recordOf(Map<?, ?> tap, String code, boolean binary) throws Exception {
        String appid = (String) tap.get("appid");
        Map<String, Object> data = new LinkedHashMap<>();
        data.put("capability", tap.get("capability"));
        data.put("scene", tap.get("scene"));
        data.put("store", tap.get("store"));
        Map<String, String> event = new LinkedHashMap<>();
        event.put("specversion", "1.0");
        event.put("id", idOf(appid, code));
        event.put("source", "/examples/java");
        event.put("type", "phone.authorization.succeeded");
        event.put("subject", appid);
        event.put("time", (String) tap.get("time"));
        if (!binary) {
            Map<String, Object> whole = new LinkedHashMap<>(event);
            whole.put("datacontenttype", "application/json");
            whole.put("data", data);
            return withHeader(record(appid, whole), "content-type", "application/cloudevents+json");
        }
        ProducerRecord<String, byte[]> record = record(appid, data);
        event.forEach((name, text) -> withHeader(record, "ce_" + name, text));
        return withHeader(record, "content-type", "application/json");
    }

    /** The idempotency key: a retry with the same code is the same call. */
    static String idOf(String appid, String code) throws Exception {
        byte[] text = (appid + ":" + code).getBytes(StandardCharsets.UTF_8);
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(text));
    }

    private static ProducerRecord<String, byte[]> record(String key, Object value) throws Exception {
        return new ProducerRecord<>("phone-events", key, JSON.writeValueAsBytes(value));
    }

    private static ProducerRecord<String, byte[]> withHeader(
            ProducerRecord<String, byte[]> record, String name, String text) {
        record.headers().add(name, text.getBytes(StandardCharsets.UTF_8));
        return record;
    }
}
