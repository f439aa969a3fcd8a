import type { DescMessage, DescMethodBiDiStreaming, DescMethodServerStreaming, DescMethodUnary, JsonValue, MessageShape } from "@bufbuild/protobuf";
import { toJson } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

const OK = "OK";

/** Prints calls and remembers the ones that answered something else than expected. */
export class Caller {
  readonly unexpected: string[] = [];

  /** Makes one call and answers its response; nothing if the call failed. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    call: () => Promise<MessageShape<O>>,
    want: string = OK,
  ): Promise<MessageShape<O> | undefined> {
    try {
      const response = await call();
      this.record(method, want, OK, "", toJson(method.output, response));
      return response;
    } catch (error) {
      this.recordError(method, want, error);
      return undefined;
    }
  }

  /** Reads a stream to its end, prints it as one call and answers what it carried. */
  async stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O> | DescMethodBiDiStreaming<I, O>,
    responses: AsyncIterable<MessageShape<O>>,
  ): Promise<MessageShape<O>[]> {
    const received: MessageShape<O>[] = [];
    try {
      for await (const response of responses) {
        received.push(response);
      }
      this.record(method, OK, OK, "", received.map((response) => toJson(method.output, response)));
    } catch (error) {
      this.recordError(method, OK, error);
    }
    return received;
  }

  private recordError(method: AnyMethod, want: string, error: unknown): void {
    const failure = ConnectError.from(error);
    this.record(method, want, codeName(failure.code), failure.rawMessage, undefined);
  }

  private record(method: AnyMethod, want: string, code: string, message: string, response: JsonValue | undefined): void {
    const path = `/${method.parent.typeName}/${method.name}`;
    if (code !== want) {
      this.unexpected.push(`${path}: want ${want}, got ${code}: ${message}`);
    }
    console.log(JSON.stringify({ method: path, code, ...(message && { message }), ...(response !== undefined && { response }) }));
  }
}

type AnyMethod = Pick<DescMethodUnary, "name" | "parent">;

/** The code as gRPC's documentation spells it, the same in every language. */
function codeName(code: Code): string {
  return Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
