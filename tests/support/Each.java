import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.util.Arrays;

/** Runs Check of docs/receipts/ on every three files, in one process: java Each FILE FILE FILE ... */
class Each {
    /** Prints of each run stdout, stderr and exit code, each ended by a zero byte. */
    public static void main(String[] files) {
        PrintStream out = System.out;
        for (int at = 0; at < files.length; at += 3) {
            ByteArrayOutputStream printed = new ByteArrayOutputStream(), errors = new ByteArrayOutputStream();
            System.setOut(new PrintStream(printed, true, UTF_8));
            System.setErr(new PrintStream(errors, true, UTF_8));
            int code = Check.run(Arrays.copyOfRange(files, at, at + 3));
            byte[] end = ("\0" + code + "\0").getBytes(UTF_8);
            out.writeBytes(printed.toByteArray());
            out.write(0);
            out.writeBytes(errors.toByteArray());
            out.writeBytes(end);
        }
        out.flush();
    }
}
