// Verifies saved replies as docs/receipts.md describes, with Java 17 or newer and nothing else:
//
//     javac Check.java
//     java Check SAVED CERTIFICATES [RETIRED_KEYS]
//
// Exit 0: every line is VALID; 1: one is INVALID; 2: MALFORMED, or a file can't be used; 21: NOT CHECKED.

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.stream.Collectors.joining;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.PublicKey;
import java.security.Signature;
import java.security.SignatureException;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Scanner;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.naming.NamingException;
import javax.naming.directory.Attribute;
import javax.naming.ldap.LdapName;
import javax.naming.ldap.Rdn;

public final class Check {
    static final Map<String, Integer> EXITS = Map.of("INVALID", 1, "MALFORMED", 2, "NOT CHECKED", 21);
    static final String[] OUTCOMES = {"?", "YES", "NO", "DISCLOSED"};
    static final int VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5;
    static final Map<Integer, Integer> RECEIPT = Map.of(
            1, BYTES, 2, BYTES, 3, BYTES, 4, BYTES, 5, BYTES, 6, BYTES, 7, FIXED64, 8, BYTES, 9, BYTES);
    static final Map<Integer, Integer> TIMESTAMP = Map.of(1, VARINT, 2, VARINT);
    static final int MAX_LINE = 65536;
    static final long END_OF_TIME = 253402300800L; // seconds, the year 10000
    static final String NOT_AS_SAVED = "the line is not as it was saved", NOTE_DAMAGED = "the checkpoint is damaged";
    static final Pattern
            LINE = Pattern.compile("\\{\"format\": \"estelam-receipt/1\", \"receipt\": \"([A-Za-z0-9+/]+=*)\"}"),
            NOTE = Pattern.compile("(([^\\s+]+)\n(0|[1-9][0-9]*)\n(\\S+)\n)\n((?:\u2014 [^\n]+\n)+)"),
            LEDGER = Pattern.compile("estelam/([^/.]+)/(.*)"),
            SIGNATURE = Pattern.compile("\u2014 ([^\\s+]+) (\\S+)"),
            BEGIN = Pattern.compile("-----BEGIN CERTIFICATE-----"),
            // A certificate stands on lines of its own; what is before, between and after is passed over.
            CERTIFICATE = Pattern.compile("(?dm)^" + BEGIN + "[ \t]*\r?\n(?:[A-Za-z0-9+/=]+[ \t]*\r?\n)+"
                    + "-----END CERTIFICATE-----[ \t]*\r?$"),
            // A list of retired keys has no other text, and no escapes.
            PAIR = Pattern.compile("STRING:STRING".replace("STRING", "[ \t\r\n]*\"([0-9A-Za-z_:-]*)\"[ \t\r\n]*")),
            ROW = Pattern.compile("[ \t\r\n]*\\{(PAIR(?:,PAIR){2})}[ \t\r\n]*".replace("PAIR", PAIR.pattern())),
            LIST = Pattern.compile("(?:\u00ef\u00bb\u00bf)?_\\{_\"retired\"_:_\\[(ROW(?:,ROW)*|_)]_}_"
                    .replace("_", "[ \t\r\n]*").replace("ROW", ROW.pattern())),
            INSTANT = Pattern.compile("(19|20|21)\\d\\d-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ");

    @SuppressWarnings("serial")
    static final class Problem extends RuntimeException {
        final String verdict;

        Problem(String verdict, String text) {
            super(text);
            this.verdict = verdict;
        }
    }

    /** One field of a protobuf message: a 64-bit number or bytes, and whether it is encoded shortly. */
    record Field(int number, int type, long value, byte[] bytes, boolean isShort) {
        boolean isDefault() {
            return type == BYTES ? bytes.length == 0 : value == 0;
        }
    }

    record Line(String name, byte[] hash, byte[] signature) {}

    record Checkpoint(String body, String origin, long size, byte[] root, List<Line> lines) {}

    record Retirement(Instant at, String reason) {}

    static final class Key {
        PublicKey publicKey;
        byte[] raw;
        String id;
        Retirement retirement;
        final List<Instant[]> periods = new ArrayList<>();
        final Set<String> organizations = new HashSet<>();
    }

    static Problem malformed(String text) {
        return new Problem("MALFORMED", text);
    }

    static Problem invalid(String text) {
        return new Problem("INVALID", text);
    }

    static Problem notChecked(String text) {
        return new Problem("NOT CHECKED", text);
    }

    static byte[] sha256(byte[]... parts) throws GeneralSecurityException {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        for (byte[] part : parts) digest.update(part);
        return digest.digest();
    }

    static byte[] base64(String text, String problem) {
        try {
            byte[] bytes = Base64.getDecoder().decode(text);
            if (Base64.getEncoder().encodeToString(bytes).equals(text)) return bytes;
        } catch (IllegalArgumentException error) {
            // Not base64.
        }
        throw malformed(problem);
    }

    static String utf8(byte[] bytes) {
        try {
            return UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
        } catch (CharacterCodingException error) {
            throw malformed("a text is damaged");
        }
    }

    /** Reads protobuf: the fields of a message in their order. */
    static final class Reader {
        final ByteBuffer left;
        boolean isShort;

        Reader(byte[] bytes) {
            left = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        }

        static List<Field> parse(byte[] bytes) {
            Reader reader = new Reader(bytes);
            List<Field> fields = new ArrayList<>();
            while (reader.left.hasRemaining()) fields.add(reader.field());
            return fields;
        }

        Field field() {
            isShort = true;
            long tag = varint(), number = tag >>> 3;
            int type = (int) (tag & 7);
            if (number < 1 || number >= 1L << 29) throw malformed("a message is damaged");
            byte[] bytes = {};
            long value = 0;
            switch (type) {
                case VARINT -> value = varint();
                case FIXED64 -> value = take(8).getLong();
                case FIXED32 -> value = Integer.toUnsignedLong(take(4).getInt());
                case BYTES -> {
                    ByteBuffer part = take(varint());
                    bytes = new byte[part.remaining()];
                    part.get(bytes);
                }
                default -> throw malformed("a message is damaged");
            }
            return new Field((int) number, type, value, bytes, isShort);
        }

        long varint() {
            long value = 0;
            for (int shift = 0; shift < 70; shift += 7) {
                int part = take(1).get();
                value |= (long) (part & 127) << shift;
                if (part >= 0) {
                    isShort &= shift == 0 || part != 0;
                    return value;
                }
            }
            throw malformed("a message is damaged");
        }

        ByteBuffer take(long count) {
            if (count < 0 || count > left.remaining()) throw malformed("a message is damaged");
            ByteBuffer part = left.slice(left.position(), (int) count).order(ByteOrder.LITTLE_ENDIAN);
            left.position(left.position() + (int) count);
            return part;
        }
    }

    static List<Field> all(List<Field> fields, int number, int type) {
        return fields.stream().filter(field -> field.number == number && field.type == type).toList();
    }

    static Field last(List<Field> fields, int number, int type) {
        List<Field> found = all(fields, number, type);
        return found.isEmpty() ? new Field(number, type, 0, new byte[0], true) : found.get(found.size() - 1);
    }

    /** Whether a message is as protobuf writes it: in order, none twice or a default, unknown ones at the end. */
    static boolean isCanonical(List<Field> fields, Map<Integer, Integer> types) {
        int before = 0;
        boolean unknown = false;
        for (Field field : fields) {
            if (!isKnown(field, types)) {
                unknown = true;
                continue;
            }
            boolean repeated = types == RECEIPT && field.number == 8, message = types == RECEIPT && field.number == 2;
            boolean inOrder = field.number > before || repeated && field.number == before;
            if (unknown || !inOrder || !field.isShort || field.isDefault() && !repeated && !message) return false;
            before = field.number;
        }
        return true;
    }

    static boolean isKnown(Field field, Map<Integer, Integer> types) {
        return types.getOrDefault(field.number, -1) == field.type;
    }

    static String read(String file) {
        try {
            return Files.readString(Path.of(file), ISO_8859_1);
        } catch (IOException error) {
            throw unusable(file, error);
        }
    }

    static Problem unusable(String file, IOException error) {
        if (error instanceof NoSuchFileException) return malformed(file + ": no such file");
        if (Files.isDirectory(Path.of(file))) return malformed(file + ": is a directory");
        if (error instanceof AccessDeniedException) return malformed(file + ": permission denied");
        return malformed(file + ": can't be read: " + error);
    }

    static boolean isDer(String text) {
        try {
            return text.startsWith("0") && CertificateFactory.getInstance("X.509")
                    .generateCertificate(new ByteArrayInputStream(text.getBytes(ISO_8859_1))) != null;
        } catch (CertificateException error) {
            return false;
        }
    }

    /** The public keys of all signing certificates in a file; authorities are left out. */
    static List<Key> signingKeys(String file) throws GeneralSecurityException {
        Map<String, Key> keys = new HashMap<>();
        String text = read(file);
        if (isDer(text))
            throw malformed(file + ": is a certificate in DER form (convert it: openssl x509 -inform DER -in " + file
                    + " -out NEW)");
        if (CERTIFICATE.matcher(text).results().count() != BEGIN.matcher(text).results().count())
            throw malformed(file + ": holds a damaged certificate");
        for (Matcher pem = CERTIFICATE.matcher(text); pem.find(); ) {
            X509Certificate certificate;
            try {
                certificate = (X509Certificate) CertificateFactory.getInstance("X.509")
                        .generateCertificate(new ByteArrayInputStream(pem.group().getBytes(ISO_8859_1)));
            } catch (CertificateException error) {
                throw malformed(file + ": holds a damaged certificate");
            }
            if (certificate.getBasicConstraints() >= 0) continue;
            PublicKey publicKey = certificate.getPublicKey();
            boolean[] usage = certificate.getKeyUsage();
            byte[] der = publicKey.getEncoded(); // of an Ed25519 key: the same 12 bytes, and 32 of the key
            if (!HexFormat.of().formatHex(der).startsWith("302a300506032b6570032100") || usage != null && !usage[0])
                throw malformed(file + ": holds a certificate that does not sign receipts");
            Key key = keys.computeIfAbsent(HexFormat.of().formatHex(der), name -> new Key());
            key.publicKey = publicKey;
            key.raw = Arrays.copyOfRange(der, 12, 44);
            key.id = HexFormat.of().formatHex(sha256(der));
            Instant since = certificate.getNotBefore().toInstant(), until = certificate.getNotAfter().toInstant();
            key.periods.add(new Instant[] {since, until});
            List<String> named = organizations(certificate);
            if (named.size() == 1) key.organizations.add(named.get(0));
        }
        if (keys.isEmpty()) throw malformed(file + ": holds no signing certificate");
        return List.copyOf(keys.values());
    }

    /** The organizationIdentifiers (OID 2.5.4.97) in the subject. */
    static List<String> organizations(X509Certificate certificate) {
        String subject = certificate.getSubjectX500Principal().getName("RFC2253", Map.of("2.5.4.97", "ORGANIZATION"));
        List<String> found = new ArrayList<>();
        try {
            for (Rdn part : new LdapName(subject).getRdns()) {
                Attribute named = part.toAttributes().get("ORGANIZATION");
                for (int i = 0; named != null && i < named.size(); i++) found.add(named.get(i).toString());
            }
        } catch (NamingException error) {
            found.clear(); // a subject that can't be read names nobody
        }
        return found;
    }

    static void retire(List<Key> keys, String file) {
        Problem problem = malformed(
                file + ": is no list of retired keys: each row has key, retired_at and reason, and nothing more");
        Matcher list = LIST.matcher(read(file));
        if (!list.matches()) throw problem;
        Map<String, Retirement> retired = new HashMap<>();
        boolean twice = false;
        for (Matcher row = ROW.matcher(list.group(1)); row.find(); ) {
            Map<String, String> pairs = new HashMap<>();
            for (Matcher pair = PAIR.matcher(row.group(1)); pair.find(); ) pairs.put(pair.group(1), pair.group(2));
            String at = pairs.getOrDefault("retired_at", ""), reason = pairs.getOrDefault("reason", "");
            try {
                if (!pairs.keySet().equals(Set.of("key", "retired_at", "reason"))
                        || !pairs.get("key").matches("[0-9a-f]{64}") || !INSTANT.matcher(at).matches()
                        || !Instant.parse(at).toString().equals(at) || !reason.matches("superseded|compromised"))
                    throw problem;
                twice |= retired.put(pairs.get("key"), new Retirement(Instant.parse(at), reason)) != null;
            } catch (DateTimeException error) {
                throw problem;
            }
        }
        if (twice) throw malformed(file + ": a key is named twice");
        for (Key key : keys) key.retirement = retired.get(key.id);
    }

    /** The checkpoint, with its signature lines. No signature is verified. */
    static Checkpoint parseCheckpoint(String note) {
        Matcher found = NOTE.matcher(note);
        boolean control = note.chars().anyMatch(character -> character < 32 && character != '\n');
        if (control || !found.matches()) throw malformed(NOTE_DAMAGED);
        byte[] root = base64(found.group(4), NOTE_DAMAGED);
        List<Line> lines = new ArrayList<>();
        for (String text : found.group(5).split("\n")) {
            Matcher line = SIGNATURE.matcher(text);
            if (!line.matches()) throw malformed(NOTE_DAMAGED);
            byte[] content = base64(line.group(2), NOTE_DAMAGED);
            if (content.length <= 4) throw malformed(NOTE_DAMAGED);
            byte[] signature = Arrays.copyOfRange(content, 4, content.length);
            lines.add(new Line(line.group(1), Arrays.copyOf(content, 4), signature));
        }
        try {
            if (root.length != 32) throw malformed(NOTE_DAMAGED);
            return new Checkpoint(found.group(1), found.group(2), Long.parseLong(found.group(3)), root, lines);
        } catch (NumberFormatException error) {
            throw malformed(NOTE_DAMAGED);
        }
    }

    /** RFC 9162: the root above a leaf, or null where the path has too few or too many nodes. */
    static byte[] rootAbove(byte[] leaf, long index, long size, List<Field> path) throws GeneralSecurityException {
        if (Long.compareUnsigned(index, size) >= 0) return null;
        Deque<Field> nodes = new ArrayDeque<>(path);
        byte[] node = sha256(new byte[] {0}, leaf), one = {1};
        for (long i = index, last = size - 1; last > 0; i >>= 1, last >>= 1) {
            if (i % 2 == 0 && i == last) continue;
            if (nodes.isEmpty()) return null;
            byte[] sibling = nodes.pop().bytes;
            node = i % 2 == 1 ? sha256(one, sibling, node) : sha256(one, node, sibling);
        }
        return nodes.isEmpty() ? node : null;
    }

    /** The key that signed the checkpoint. Lines of other keys, such as witnesses, are passed over. */
    static Key signer(Checkpoint checkpoint, List<Key> keys) throws GeneralSecurityException {
        Key found = null;
        for (Key key : keys) {
            byte[] hash = Arrays.copyOf(sha256((checkpoint.origin + "\n\1").getBytes(UTF_8), key.raw), 4);
            for (Line line : checkpoint.lines) {
                if (!line.name.equals(checkpoint.origin) || !Arrays.equals(line.hash, hash)) continue;
                Signature signature = Signature.getInstance("Ed25519");
                signature.initVerify(key.publicKey);
                signature.update(checkpoint.body.getBytes(UTF_8));
                if (!verifies(signature, line.signature)) throw invalid("4: the signature does not match");
                found = key;
            }
        }
        if (found == null) throw notChecked("4: it is signed with a key of none of the given certificates");
        return found;
    }

    static boolean verifies(Signature signature, byte[] bytes) {
        try {
            return signature.verify(bytes);
        } catch (SignatureException error) {
            return false; // of another length, or no point of the curve
        }
    }

    static void checkTime(Key key, Instant at) {
        Retirement gone = key.retirement;
        if (gone != null && !at.isBefore(gone.at))
            throw invalid("4: the signing key was retired at " + gone.at + ", not after " + at);
        if (gone != null && gone.reason.equals("compromised"))
            throw notChecked("4: the signing key was compromised at " + gone.at + ": alone this proves nothing");
        if (key.periods.stream().noneMatch(period -> !at.isBefore(period[0]) && !at.isAfter(period[1])))
            throw notChecked("4: no given certificate of the signing key was valid at " + at);
    }

    static String check(String text, List<Key> keys) throws GeneralSecurityException {
        if (text.length() >= MAX_LINE) throw malformed("the line is too long");
        Matcher line = LINE.matcher(text);
        if (!line.matches()) throw malformed(NOT_AS_SAVED);
        List<Field> receipt = Reader.parse(base64(line.group(1), NOT_AS_SAVED));
        byte[] request = last(receipt, 3, BYTES).bytes, reply = last(receipt, 4, BYTES).bytes;
        byte[] leaf = last(receipt, 5, BYTES).bytes, salt = last(receipt, 6, BYTES).bytes;
        List<Field> time = Reader.parse(last(receipt, 2, BYTES).bytes), entry = Reader.parse(leaf);
        List<Field> asked = Reader.parse(request), answered = Reader.parse(reply);
        if (!isCanonical(receipt, RECEIPT) || !isCanonical(time, TIMESTAMP)) throw malformed(NOT_AS_SAVED);
        long micros = last(entry, 2, FIXED64).value, outcome = last(entry, 6, VARINT).value;
        String caller = utf8(last(entry, 3, BYTES).bytes), method = utf8(last(entry, 4, BYTES).bytes);
        String id = utf8(last(receipt, 1, BYTES).bytes), note = utf8(last(receipt, 9, BYTES).bytes);
        long seconds = Long.divideUnsigned(micros, 1_000_000);
        if (salt.length != 16 || seconds >= END_OF_TIME) throw malformed("the receipt is damaged");

        if (outcome < 1 || outcome > 3) throw invalid("1: the entry is not an answer"); // 1
        byte[] commitment = sha256(salt, sha256(request), sha256(reply)); // 2
        if (!Arrays.equals(commitment, last(entry, 9, BYTES).bytes))
            throw invalid("2: the entry is of another request or reply");
        Checkpoint checkpoint = parseCheckpoint(note); // 3
        byte[] root = rootAbove(leaf, last(receipt, 7, FIXED64).value, checkpoint.size, all(receipt, 8, BYTES));
        if (!Arrays.equals(root, checkpoint.root))
            throw invalid("3: the entry is not in the ledger of the checkpoint");
        Instant at = Instant.ofEpochSecond(seconds);
        Key signer = signer(checkpoint, keys); // 4
        checkTime(signer, at);
        byte[] uuid = last(entry, 1, BYTES).bytes; // 5
        if (uuid.length != 16) throw malformed("the receipt is damaged");
        String stated = HexFormat.of().formatHex(uuid).replaceFirst("(.{8})(.{4})(.{4})(.{4})", "$1-$2-$3-$4-");
        boolean known = receipt.stream().allMatch(field -> isKnown(field, RECEIPT))
                && time.stream().allMatch(field -> isKnown(field, TIMESTAMP));
        if (!known || !id.equals(stated) || last(time, 1, VARINT).value != seconds
                || last(time, 2, VARINT).value != micros % 1_000_000 * 1000)
            throw invalid("5: the plain fields differ from the entry");
        Matcher ledger = LEDGER.matcher(checkpoint.origin);
        if (!ledger.lookingAt() || !method.startsWith("estelam." + ledger.group(1) + "."))
            throw invalid("5: the ledger is not of the service whose method the entry names");
        if (signer.organizations.isEmpty()) throw notChecked("5: no given certificate names one organisation");
        if (!signer.organizations.contains(ledger.group(2)))
            throw invalid("5: the ledger is not of the organisation that the signing certificate names");
        if (outcome == 3 ? all(answered, 1, BYTES).isEmpty() : last(answered, 1, VARINT).value != outcome)
            throw invalid("5: the answer differs from the entry");

        String identifiers = asked.stream().sorted(Comparator.comparing(Field::number))
                .map(field -> field.type == BYTES ? utf8(field.bytes) : Long.toUnsignedString(field.value))
                .collect(Collectors.joining(" "));
        return "VALID " + stated + " at " + at + ": " + method + " about " + identifiers + " asked by " + caller + ": "
                + OUTCOMES[(int) outcome] + (method.startsWith("estelam.judiciary.") ? coverage(answered) : "");
    }

    static String coverage(List<Field> answered) {
        List<Field> found = Reader.parse(last(answered, 2, BYTES).bytes);
        List<Field> since = Reader.parse(last(found, 1, BYTES).bytes), asOf = Reader.parse(last(found, 2, BYTES).bytes);
        return (since.isEmpty() ? "" : String.format(", complete since %04d-%02d-%02d", last(since, 1, VARINT).value,
                        last(since, 2, VARINT).value, last(since, 3, VARINT).value))
                + (asOf.isEmpty() ? "" : ", true as of " + Instant.ofEpochSecond(last(asOf, 1, VARINT).value));
    }

    /** A text as it is printed: control and format characters, which could mislead, as escapes, but not the joiners of Persian. */
    static String shown(String text) {
        return text.codePoints().mapToObj(each -> switch (Character.getType(each)) {
            case Character.CONTROL, Character.FORMAT, Character.LINE_SEPARATOR, Character.PARAGRAPH_SEPARATOR -> escaped(each);
            default -> Character.toString(each);
        }).collect(joining());
    }

    static String escaped(int each) {
        return switch (each) {
            case 0x200c, 0x200d -> Character.toString(each);
            case '\t' -> "\\t";
            case '\n' -> "\\n";
            case '\r' -> "\\r";
            default -> String.format(each < 0x100 ? "\\x%02x" : each < 0x10000 ? "\\u%04x" : "\\U%08x", each);
        };
    }

    public static void main(String[] arguments) {
        System.setOut(new PrintStream(System.out, true, UTF_8));
        System.setErr(new PrintStream(System.err, true, UTF_8));
        System.exit(run(arguments));
    }

    /** Verifies the files, prints and returns the exit code. */
    static int run(String... arguments) {
        int number = 0;
        try {
            if (arguments.length < 2 || arguments.length > 3)
                throw malformed("give the saved replies, one file of certificates and, if any, the retired keys");
            List<Key> keys = signingKeys(arguments[1]);
            if (arguments.length > 2) retire(keys, arguments[2]);
            try (Scanner lines = new Scanner(Path.of(arguments[0]), ISO_8859_1).useDelimiter("\n")) {
                while (lines.hasNext()) {
                    String text = lines.next().replaceAll("^[ \t\r]+|[ \t\r]+$", "");
                    if (text.isEmpty()) continue;
                    number++;
                    System.out.println(shown(check(text, keys)));
                }
                if (lines.ioException() != null) throw lines.ioException();
            }
            if (number == 0) throw malformed("the file is empty");
            return 0;
        } catch (Problem problem) {
            return end(problem.verdict, number, problem.getMessage());
        } catch (InvalidPathException error) {
            return end("MALFORMED", 0, error.getInput() + ": can't be named in this locale; rename the file");
        } catch (IOException error) {
            return end("MALFORMED", number, unusable(arguments[0], error).getMessage());
        } catch (GeneralSecurityException | RuntimeException | Error error) { // Java itself would end with 1
            return end("NOT CHECKED", number, error.toString());
        }
    }

    static int end(String verdict, int number, String text) {
        System.err.println(verdict + ": " + (number > 0 ? "reply " + number + ": " : "") + shown(text));
        return EXITS.get(verdict);
    }
}
