/** Client of usage-ledger. {@link connect} gives one client per service; messages and enums are exported beside it. */
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { BillingService } from "./gen/usage/v1/billing_pb.js";
import { UsageService } from "./gen/usage/v1/usage_pb.js";
import { AdminService } from "./gen/usage_ledger/v1/admin_pb.js";
import { PublishingService } from "./gen/usage_ledger/v1/publishing_pb.js";
import { QueryService } from "./gen/usage_ledger/v1/queries_pb.js";

export * from "./gen/usage/events/v1/events_pb.js";
export * from "./gen/usage/v1/billing_pb.js";
export * from "./gen/usage/v1/usage_pb.js";
export * from "./gen/usage_ledger/v1/admin_pb.js";
export * from "./gen/usage_ledger/v1/live_views_pb.js";
export * from "./gen/usage_ledger/v1/publishing_pb.js";
export * from "./gen/usage_ledger/v1/queries_pb.js";

/** The services of one ledger, over one shared HTTP/2 connection. */
export interface UsageLedger {
  readonly usage: Client<typeof UsageService>;
  readonly billing: Client<typeof BillingService>;
  readonly publishing: Client<typeof PublishingService>;
  readonly queries: Client<typeof QueryService>;
  readonly admin: Client<typeof AdminService>;
  /** Drops the connection; without it an idle one keeps the process alive for a while. */
  close(): void;
}

/** How we show the service who calls, and whom we take for the service. PEM where it is a certificate or a key. */
export interface Credentials {
  /** Sent with every call. Without TLS everybody on the way can read it. */
  readonly token?: string;
  /** Who signed the service's certificate; those that Node.js trusts unless given. */
  readonly ca?: string | Buffer;
  /** Our certificate and its key, for a service that asks for one. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
}

/**
 * Prepares the clients of a service; connects with the first call.
 *
 * @param baseUrl scheme, host and port: `http://127.0.0.1:9001` speaks gRPC in plain text, `https://…` over TLS
 * @param credentials what the service asks for, if it does
 */
export function connect(baseUrl: string, credentials: Credentials = {}): UsageLedger {
  const { token, ...tls } = credentials;
  const sessionManager = new Http2SessionManager(baseUrl, undefined, tls);
  const interceptors: Interceptor[] = token === undefined ? [] : [bearer(token)];
  const transport = createGrpcTransport({ baseUrl, sessionManager, interceptors });
  return {
    usage: createClient(UsageService, transport),
    billing: createClient(BillingService, transport),
    publishing: createClient(PublishingService, transport),
    queries: createClient(QueryService, transport),
    admin: createClient(AdminService, transport),
    close: () => sessionManager.abort(),
  };
}

function bearer(token: string): Interceptor {
  return (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
}
