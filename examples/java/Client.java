import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import estelam.inquiry.v1.Answer;
import estelam.inquiry.v1.Entry;
import estelam.judiciary.v1.CheckByTrackingIdRequest;
import estelam.judiciary.v1.CheckByTrackingIdResponse;
import estelam.promissory.v1.CheckNoteRequest;
import estelam.promissory.v1.CheckNoteResponse;
import estelam.promissory.v1.GetNotePartiesRequest;
import estelam.promissory.v1.GetNotePartiesResponse;
import estelam.promissory.v1.PromissoryNoteInquiryServiceGrpc;
import estelam.promissory.v1.PromissoryNoteInquiryServiceGrpc.PromissoryNoteInquiryServiceBlockingStub;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.MetadataUtils;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslProvider;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Asks CheckNote about notes: mTLS, deadline, retries, error details, and no answer without a valid receipt.
 *
 * <pre>
 * Client TARGET PKI OBLIGOR BENEFICIARY AMOUNT SERIAL...    prints the answer about each serial
 * Client testdata DIR                                       checks this program with the test vectors
 * </pre>
 */
public final class Client {
    private static final String METHOD = "estelam.promissory.v1.PromissoryNoteInquiryService/CheckNote";
    private static final long DEADLINE_MS = 5000, CLOCK_MS = 60_000;
    private static final int MAX_CALLS = 3;
    private static final Metadata.Key<byte[]> DETAILS =
            Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
    private static final Metadata.Key<String> PUSHBACK = text("grpc-retry-pushback-ms"), NONCE = text("x-nonce");

    private static Metadata.Key<String> text(String name) {
        return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
    }

    /** What the error details say; retryMs is null where they name no time. */
    private record Problem(String reason, String layer, Long retryMs, List<String> fields) {
        static Problem of(byte[] wire) throws InvalidProtocolBufferException {
            String reason = "", layer = "-";
            Long retryMs = null;
            List<String> fields = new ArrayList<>();
            for (Any detail : com.google.rpc.Status.parseFrom(wire).getDetailsList()) {
                String type = detail.getTypeUrl().substring(detail.getTypeUrl().lastIndexOf('/') + 1);
                if (type.equals("google.rpc.ErrorInfo")) {
                    ErrorInfo info = ErrorInfo.parseFrom(detail.getValue());
                    reason = info.getReason();
                    layer = info.getMetadataOrDefault("layer", "-");
                } else if (type.equals("google.rpc.RetryInfo")) {
                    var delay = RetryInfo.parseFrom(detail.getValue()).getRetryDelay();
                    retryMs = delay.getSeconds() * 1000 + delay.getNanos() / 1_000_000;
                } else if (type.equals("google.rpc.BadRequest")) {
                    for (var each : BadRequest.parseFrom(detail.getValue()).getFieldViolationsList()) fields.add(each.getField());
                }
            }
            return new Problem(reason, layer, retryMs, fields);
        }
    }

    /** Returns how long to wait before the next call; null: don't call again. */
    private static Long waitMs(Status.Code code, String pushback, Problem problem, int calls) {
        if (pushback != null) return pushback.startsWith("-") ? null : Long.valueOf(pushback);
        if (code != Status.Code.UNAVAILABLE && code != Status.Code.CANCELLED) return null;
        return problem.retryMs() != null ? problem.retryMs() : Long.valueOf(100L << calls);
    }

    /** Returns YES or NO, or why there is no answer. */
    private static String ask(PromissoryNoteInquiryServiceBlockingStub stub, CheckNoteRequest note, X509Certificate provider,
            String caller) throws Exception {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(2 * DEADLINE_MS);
        for (int calls = 1;; calls++) {
            byte[] random = new byte[16];
            new SecureRandom().nextBytes(random);
            String nonce = Base64.getUrlEncoder().withoutPadding().encodeToString(random);
            Metadata metadata = new Metadata();
            metadata.put(NONCE, nonce);
            try {
                CheckNoteResponse reply = MetadataUtils.attachHeaders(stub, metadata)
                        .withDeadlineAfter(DEADLINE_MS, TimeUnit.MILLISECONDS).checkNote(note);
                Answer answer = reply.getAnswer();
                if (answer != Answer.ANSWER_YES && answer != Answer.ANSWER_NO) return "NO ANSWER UNSPECIFIED"; // never a NO
                CheckNoteResponse bare = reply.toBuilder().clearReceipt().build();
                Entry entry = Receipt.proven(provider, METHOD, note, bare, answer, reply.getReceipt());
                return entry != null && isOwn(entry, nonce, caller) ? answer.name().substring("ANSWER_".length()) : "NO ANSWER BAD_RECEIPT";
            } catch (StatusRuntimeException error) {
                Metadata trailers = error.getTrailers() == null ? new Metadata() : error.getTrailers();
                byte[] details = trailers.get(DETAILS);
                Problem problem = Problem.of(details == null ? new byte[0] : details);
                Status.Code code = error.getStatus().getCode();
                Long wait = waitMs(code, trailers.get(PUSHBACK), problem, calls);
                if (wait == null || calls == MAX_CALLS || System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(wait) > end) {
                    String reason = problem.reason().isEmpty() ? code.name() : problem.reason();
                    String fields = problem.fields().isEmpty() ? "" : " " + String.join(",", problem.fields());
                    return "NO ANSWER " + reason + " " + problem.layer() + " after " + calls + " calls" + fields;
                }
                Thread.sleep(wait);
            }
        }
    }

    /** Returns whether the receipt is of this very call, and not a genuine one of another. */
    private static boolean isOwn(Entry entry, String nonce, String caller) throws GeneralSecurityException {
        byte[] hash = Receipt.sha256(nonce.getBytes(StandardCharsets.US_ASCII));
        boolean isNow = Math.abs(entry.getAnsweredAtMicros() / 1000 - System.currentTimeMillis()) < CLOCK_MS;
        return isNow && entry.getCaller().equals(caller) && Arrays.equals(entry.getNonce().toByteArray(), hash);
    }

    private static void checkTestdata(Path folder) throws Exception {
        JsonObject receipts = read(folder.resolve("receipts.json"));
        X509Certificate certificate = certificate(receipts.get("certificate").getAsString().getBytes(StandardCharsets.US_ASCII));
        for (JsonElement each : receipts.getAsJsonArray("receipts")) {
            JsonObject vector = each.getAsJsonObject();
            Entry entry = proven(certificate, vector.get("method").getAsString(), bytes(vector, "request"), bytes(vector, "reply"));
            System.out.printf("receipt %s: %s%n", vector.get("name").getAsString(), entry != null ? "valid" : "invalid");
        }
        for (JsonElement each : read(folder.resolve("errors.json")).getAsJsonArray("errors")) {
            Problem problem = Problem.of(bytes(each.getAsJsonObject(), "status_details").toByteArray());
            String fields = problem.fields().isEmpty() ? "-" : String.join(",", problem.fields());
            Object wait = problem.retryMs() == null ? "-" : problem.retryMs();
            System.out.printf("error %s: %s %s %s%n", problem.reason(), problem.layer(), wait, fields);
        }
    }

    private static Entry proven(X509Certificate certificate, String method, ByteString request, ByteString reply) throws Exception {
        if (method.endsWith("/CheckNote")) {
            var found = CheckNoteResponse.parseFrom(reply);
            return Receipt.proven(certificate, method, CheckNoteRequest.parseFrom(request),
                    found.toBuilder().clearReceipt().build(), found.getAnswer(), found.getReceipt());
        } else if (method.endsWith("/GetNoteParties")) {
            var found = GetNotePartiesResponse.parseFrom(reply);
            return Receipt.proven(certificate, method, GetNotePartiesRequest.parseFrom(request),
                    found.toBuilder().clearReceipt().build(), Answer.ANSWER_UNSPECIFIED, found.getReceipt());
        }
        var found = CheckByTrackingIdResponse.parseFrom(reply);
        return Receipt.proven(certificate, method, CheckByTrackingIdRequest.parseFrom(request),
                found.toBuilder().clearReceipt().build(), found.getAnswer(), found.getReceipt());
    }

    private static JsonObject read(Path path) throws Exception {
        return JsonParser.parseString(Files.readString(path)).getAsJsonObject();
    }

    private static ByteString bytes(JsonObject vector, String name) {
        return ByteString.copyFrom(Base64.getDecoder().decode(vector.get(name).getAsString()));
    }

    private static X509Certificate certificate(byte[] pem) throws GeneralSecurityException {
        InputStream input = new ByteArrayInputStream(pem);
        return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(input);
    }

    public static void main(String[] words) throws Exception {
        if (words[0].equals("testdata")) {
            checkTestdata(Path.of(words[1]));
            return;
        }
        Path pki = Path.of(words[1]);
        SslContextBuilder tls = GrpcSslContexts.configure(SslContextBuilder.forClient(), SslProvider.OPENSSL)
                .trustManager(pki.resolve("ca.crt").toFile())
                .keyManager(pki.resolve("setad.crt").toFile(), pki.resolve("setad.key").toFile());
        X509Certificate provider = certificate(Files.readAllBytes(pki.resolve("promissory-receipts.crt")));
        String caller = Receipt.organizationOf(certificate(Files.readAllBytes(pki.resolve("setad.crt"))));
        ManagedChannel channel = NettyChannelBuilder.forTarget(words[0]).sslContext(tls.build()).disableRetry().build();
        var stub = PromissoryNoteInquiryServiceGrpc.newBlockingStub(channel);
        for (String serial : Arrays.copyOfRange(words, 5, words.length)) {
            CheckNoteRequest note = CheckNoteRequest.newBuilder().setSerial(serial).setObligorId(words[2])
                    .setBeneficiaryId(words[3]).setAmountRials(Long.parseLong(words[4])).build();
            System.out.println(serial + " " + ask(stub, note, provider, caller));
        }
        channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
}
