/** grpc.health.v1: a service that can't answer is NOT_SERVING. */

import { status, type sendUnaryData, type ServerUnaryCall, type ServerWritableStream } from "@grpc/grpc-js";

const SERVING = Buffer.from([8, 1]);
const NOT_SERVING = Buffer.from([8, 2]);
const SERVICE_UNKNOWN = Buffer.from([8, 3]);
/** Between two looks at a status that is watched. */
const WATCH_MILLISECONDS = 1000;

/** Whether *request* is empty or has the one field, whole; service names are shorter than 128 bytes. */
function isWellFormed(request: Buffer): boolean {
  return request.length === 0 || (request[0] === 0x0a && request[1] === request.length - 2);
}

export type Health = () => boolean | Promise<boolean>;

/** The health of a server of these services. */
export class HealthService {
  constructor(private readonly services: string[], private readonly isServing: Health) {}

  private async statusOf(request: Buffer): Promise<Buffer> {
    const service = request.subarray(2).toString(); // after the tag and the length of the one field
    if (service !== "" && !this.services.includes(service)) return SERVICE_UNKNOWN;
    return (await this.isServing()) ? SERVING : NOT_SERVING;
  }

  async check(call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>): Promise<void> {
    if (!isWellFormed(call.request)) return done({ code: status.INVALID_ARGUMENT });
    const found = await this.statusOf(call.request);
    if (found === SERVICE_UNKNOWN) done({ code: status.NOT_FOUND });
    else done(null, found);
  }

  /** Sends the status, and again whenever it has changed. */
  async watch(call: ServerWritableStream<Buffer, Buffer>): Promise<void> {
    let sent: Buffer | undefined;
    while (!call.cancelled) {
      const found = await this.statusOf(call.request);
      if (found !== sent) call.write(found);
      sent = found;
      await new Promise((resolve) => setTimeout(resolve, WATCH_MILLISECONDS));
    }
  }
}
