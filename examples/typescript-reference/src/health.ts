/** grpc.health.v1: a service that can't answer is NOT_SERVING. */

import { status, type sendUnaryData, type ServerUnaryCall } from "@grpc/grpc-js";

const SERVING = Buffer.from([8, 1]);
const NOT_SERVING = Buffer.from([8, 2]);

export type Health = () => boolean | Promise<boolean>;

/** Returns the handler of Check for a server of these services. */
export function check(services: string[], isServing: Health) {
  return async (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>): Promise<void> => {
    const service = call.request.subarray(2).toString(); // after the tag and the length of the one field
    if (service !== "" && !services.includes(service)) done({ code: status.NOT_FOUND });
    else done(null, (await isServing()) ? SERVING : NOT_SERVING);
  };
}
