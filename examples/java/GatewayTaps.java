import com.fasterxml.jackson.databind.ObjectMapper;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.core.data.BytesCloudEventData;
import io.cloudevents.http.HttpMessageFactory;
import io.cloudevents.jackson.JsonFormat;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Scanner;
import java.util.Set;

/**
 * Publishes taps, one JSON object per line of standard input: `GatewayTaps URL structured|binary|batched`.
 *
 * <p>To the HTTP gateway, with the CloudEvents SDK and Java's own client. Needs io.cloudevents:cloudevents-http-basic:4.0.1
 * and io.cloudevents:cloudevents-json-jackson:4.0.1. The API key is in the environment variable PHONEMETER_KEY.
 */
public class GatewayTaps {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    /** What a missing code becomes on its way. */
    private static final Set<String> NO_CODES = Set.of("", "None", "null", "undefined");

    /** Too many requests, or Kafka is away: nothing is wrong with the events. */
    private static final Set<Integer> AGAIN = Set.of(409, 429, 503);

    private static final int ATTEMPTS_MAX = 10;

    public static void main(String[] arguments) throws Exception {
        URI address = URI.create(arguments[0]);
        List<CloudEvent> events = new ArrayList<>();
        try (Scanner lines = new Scanner(System.in, StandardCharsets.UTF_8)) {
            while (lines.hasNextLine()) {
                Map<?, ?> tap = JSON.readValue(lines.nextLine(), Map.class);
                if (!(tap.get("code") instanceof String code) || NO_CODES.contains(code.strip())) {
                    System.err.println("A tap without a code was left out: all such taps would be one call.");
                    continue;
                }
                events.add(eventOf(tap, code));
            }
        }
        if (arguments[1].equals("batched")) {
            send(batchOf(address, events));
            return;
        }
        for (CloudEvent event : events) {
            send(requestOf(address, event, arguments[1].equals("binary")));
        }
    }

    static CloudEvent eventOf(Map<?, ?> tap, String code) throws Exception {
        String appid = (String) tap.get("appid");
        Map<String, Object> data =
                Map.of("capability", tap.get("capability"), "scene", tap.get("scene"), "store", tap.get("store"));
        return CloudEventBuilder.v1()
                .withId(Taps.idOf(appid, code))
                .withSource(URI.create("/examples/java"))
                .withType("phone.authorization.succeeded")
                .withSubject(appid)
                .withTime(OffsetDateTime.parse((String) tap.get("time")))
                .withData("application/json", BytesCloudEventData.wrap(JSON.writeValueAsBytes(data)))
                .build();
    }

    private static HttpRequest.Builder requestOf(URI address, CloudEvent event, boolean binary) {
        HttpRequest.Builder request = HttpRequest.newBuilder(address);
        var writer = HttpMessageFactory.createWriter(
                request::header, body -> request.POST(BodyPublishers.ofByteArray(body)));
        if (binary) {
            writer.writeBinary(event);
        } else {
            writer.writeStructured(event, JsonFormat.CONTENT_TYPE);
        }
        return request;
    }

    /** The SDK has no batches: one is the JSON array of structured events. */
    private static HttpRequest.Builder batchOf(URI address, List<CloudEvent> events) throws Exception {
        JsonFormat format = new JsonFormat();
        ByteArrayOutputStream batch = new ByteArrayOutputStream();
        for (CloudEvent event : events) {
            batch.write(batch.size() == 0 ? '[' : ',');
            batch.write(format.serialize(event));
        }
        batch.write(']');
        return HttpRequest.newBuilder(address)
                .header("content-type", "application/cloudevents-batch+json")
                .POST(BodyPublishers.ofByteArray(batch.toByteArray()));
    }

    /** Sends a request until its events are stored. Sending them again is harmless: their ids are the same. */
    private static void send(HttpRequest.Builder request) throws Exception {
        request.header("authorization", "Bearer " + System.getenv("PHONEMETER_KEY"));
        for (int attempt = 1; ; attempt++) {
            HttpResponse<String> answer = CLIENT.send(request.build(), BodyHandlers.ofString());
            if (answer.statusCode() == 200) {
                return;
            }
            if (!AGAIN.contains(answer.statusCode()) || attempt == ATTEMPTS_MAX) {
                throw new IllegalStateException(answer.statusCode() + " " + answer.body());
            }
            Thread.sleep(1000 * Long.parseLong(answer.headers().firstValue("retry-after").orElse("1")));
        }
    }
}
