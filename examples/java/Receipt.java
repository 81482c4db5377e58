import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.MessageLite;
import estelam.inquiry.v1.Answer;
import estelam.inquiry.v1.Entry;
import estelam.inquiry.v1.Outcome;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.Signature;
import java.security.cert.X509Certificate;
import java.time.Instant;
import java.util.Arrays;
import java.util.Base64;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Verifies that a receipt proves a reply; docs/receipts.md says what that means. */
final class Receipt {
    private static final Pattern LINE = Pattern.compile("— (\\S+) (\\S+)");
    private static final Map<Outcome, Answer> ANSWERS = Map.of(
            Outcome.OUTCOME_YES, Answer.ANSWER_YES, Outcome.OUTCOME_NO, Answer.ANSWER_NO,
            Outcome.OUTCOME_DISCLOSED, Answer.ANSWER_UNSPECIFIED);

    private Receipt() {}

    /** Returns the ledger's entry if `receipt` proves `bare`, the reply without it, to `request`; else null. */
    static Entry proven(X509Certificate certificate, String method, MessageLite request, MessageLite bare, Answer answer,
            estelam.inquiry.v1.Receipt receipt) throws GeneralSecurityException {
        try {
            Entry entry = Entry.parseFrom(receipt.getEntry());
            // 1 The receipt holds this question and this answer, and 2 the entry commits to them.
            byte[] committed = sha256(receipt.getSalt().toByteArray(),
                    sha256(receipt.getRequest().toByteArray()), sha256(receipt.getReply().toByteArray()));
            boolean isOwn = request.getParserForType().parseFrom(receipt.getRequest()).equals(request)
                    && bare.getParserForType().parseFrom(receipt.getReply()).equals(bare);
            boolean agrees = entry.getMethod().equals(method) && ANSWERS.get(entry.getOutcome()) == answer;
            if (!isOwn || !agrees || !Arrays.equals(committed, entry.getCommitment().toByteArray())) return null;
            // 3 The checkpoint's tree has the entry.
            String[] parts = receipt.getCheckpoint().split("\n\n", 2);
            String[] head = parts[0].split("\n");
            if (parts.length < 2 || head.length != 3) return null;
            byte[] leaf = sha256(new byte[] {0}, receipt.getEntry().toByteArray());
            byte[] root = rootAbove(leaf, receipt.getIndex(), Long.parseLong(head[1]), receipt.getInclusionPathList());
            if (root == null || !Base64.getEncoder().encodeToString(root).equals(head[2])) return null;
            // 4 The provider's key has signed the checkpoint of its own ledger, when its certificate was valid.
            Instant at = Instant.ofEpochSecond(entry.getAnsweredAtMicros() / 1_000_000);
            boolean isValid = !at.isBefore(certificate.getNotBefore().toInstant()) && !at.isAfter(certificate.getNotAfter().toInstant());
            String ledger = "estelam/" + method.split("\\.")[1] + "/" + organizationOf(certificate);
            return isValid && head[0].equals(ledger) && isSigned(certificate, ledger, parts[0] + "\n", parts[1]) ? entry : null;
        } catch (InvalidProtocolBufferException | IllegalArgumentException damaged) {
            return null;
        }
    }

    private static boolean isSigned(X509Certificate certificate, String ledger, String body, String lines)
            throws GeneralSecurityException {
        byte[] spki = certificate.getPublicKey().getEncoded();
        byte[] raw = Arrays.copyOfRange(spki, spki.length - 32, spki.length);
        byte[] name = Arrays.copyOf(sha256((ledger + "\n\1").getBytes(StandardCharsets.UTF_8), raw), 4);
        for (String line : lines.split("\n")) {
            Matcher found = LINE.matcher(line);
            if (!found.matches() || !found.group(1).equals(ledger)) continue;
            byte[] signature = Base64.getDecoder().decode(found.group(2));
            if (!Arrays.equals(Arrays.copyOf(signature, 4), name)) continue;
            Signature verifier = Signature.getInstance("Ed25519");
            verifier.initVerify(certificate.getPublicKey());
            verifier.update(body.getBytes(StandardCharsets.UTF_8));
            if (verifier.verify(Arrays.copyOfRange(signature, 4, signature.length))) return true;
        }
        return false;
    }

    /** Returns the root above a leaf (RFC 9162); null if the path has too few or too many nodes. */
    private static byte[] rootAbove(byte[] leaf, long index, long size, List<ByteString> path) throws GeneralSecurityException {
        if (Long.compareUnsigned(index, size) >= 0) return null;
        Iterator<ByteString> nodes = path.iterator();
        byte[] node = leaf;
        for (long i = index, end = size - 1; end > 0; i >>= 1, end >>= 1) {
            if ((i & 1) == 0 && i == end) continue; // no sibling at this level
            if (!nodes.hasNext()) return null;
            byte[] sibling = nodes.next().toByteArray();
            node = (i & 1) == 1 ? sha256(new byte[] {1}, sibling, node) : sha256(new byte[] {1}, node, sibling);
        }
        return nodes.hasNext() ? null : node;
    }

    static byte[] sha256(byte[]... parts) throws GeneralSecurityException {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        for (byte[] part : parts) digest.update(part);
        return digest.digest();
    }

    /** Returns the organisation that a certificate names (OID 2.5.4.97). */
    static String organizationOf(X509Certificate certificate) {
        String subject = certificate.getSubjectX500Principal().getName("RFC2253", Map.of("2.5.4.97", "organization"));
        Matcher found = Pattern.compile("(?:^|,)organization=([^,]+)").matcher(subject);
        return found.find() ? found.group(1) : "";
    }
}
