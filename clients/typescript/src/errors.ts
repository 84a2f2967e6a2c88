/** Why a workflow stops being driven here. Nothing is recorded for it; somebody may go on with it. */
export type StopReason =
  "paused" | "cancelled" | "leaseLost" | "suspended" | "locked" | "programChanged" | "shutdown" | "refused";

/**
 * What a call of the context throws when the workflow cannot go on here and now. It is no `Error`, so code that asks for
 * one lets it pass; whatever a program does after it is not recorded.
 */
export class Interrupt {
  constructor(
    readonly reason: StopReason,
    readonly message: string,
  ) {}
  toString(): string {
    return `${this.reason}: ${this.message}`;
  }
}

/** Any answer of the server that is not a result, with its SQLSTATE. */
export class DurableError extends Error {
  override name = "DurableError";
  constructor(
    message: string,
    readonly code?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What is recorded of a failure beside its text. */
export interface FailureDetail {
  type?: string;
  message?: string;
  detail?: unknown;
}

/** The recorded failure of a step, a child or a workflow: the same when it happens as on a replay. */
export class Failed extends DurableError {
  constructor(
    /** The name of what failed: a step, a child, a workflow. */
    override readonly name: string,
    /** The name of the error that was thrown; `message` is its message. */
    readonly type: string,
    message: string,
    readonly detail: unknown = null,
    /** Of a step. */
    readonly attempts: number | null = null,
  ) {
    super(message);
  }
}

/** The workflow was asked to end, or the child that was waited for was cancelled. */
export class Cancelled extends DurableError {
  override name = "Cancelled";
}

/** What was waited for did not come in time. */
export class TimedOut extends DurableError {
  override name = "TimedOut";
}

/** The workflow's time is up. */
export class DeadlineExceeded extends DurableError {
  override name = "DeadlineExceeded";
}

/** Thrown by a step: it fails for good, whatever retries are left. */
export class Fatal extends Error {
  override name = "Fatal";
  constructor(
    message: string,
    readonly detail?: unknown,
  ) {
    super(message);
  }
}

/** Thrown by a step: its next attempt is due after so many seconds. */
export class RetryAfter extends Error {
  override name = "RetryAfter";
  constructor(
    readonly seconds: number,
    message = `retry after ${seconds} s`,
    readonly detail?: unknown,
  ) {
    super(message);
  }
}

/** What stands for a recorded failure; what is recorded without its parts is taken from its text, `Type: message`. */
export function failure(
  step: string,
  error: string | null,
  detail?: unknown,
  attempts: number | null = null,
): DurableError {
  const parts = detail as FailureDetail | null | undefined;
  const [, type, reason] = /^([A-Za-z_$][\w$.]*): ([^]*)$/.exec(error ?? "") ?? [];
  if (parts?.type) return new Failed(step, parts.type, parts.message ?? "", parts.detail ?? null, attempts);
  if (type === "WF013") return new TimedOut(`${step}: ${reason}`, type);
  if (type === "WF017" || error === "workflow cancelled") return new Cancelled(`${step}: ${reason ?? error}`, type);
  return new Failed(step, type ?? "Error", reason ?? error ?? "failed", detail ?? null, attempts);
}

/** What is recorded of an error: its text, and its parts. */
export function describe(error: unknown): { error: string; detail: FailureDetail } {
  const it = error instanceof Error ? error : new Error(String(error));
  const type = it instanceof Failed ? it.type : it.name;
  const text = it instanceof Failed ? `${it.name}: ${it.message}` : it.message;
  const message = text.toWellFormed().replaceAll("\0", "\\0"); // PostgreSQL's text has no others
  const { detail } = it as { detail?: unknown };
  return { error: `${type}: ${message}`, detail: { type, message, detail } };
}

const STOPS: Record<string, StopReason> = {
  WF001: "leaseLost",
  WF002: "leaseLost",
  WF004: "paused",
  WF005: "cancelled",
  WF007: "programChanged",
  WF008: "leaseLost",
  WF011: "leaseLost",
  WF016: "leaseLost", // it has moved to another database
};

/** What a program gets for an error of the server: an answer to its call, or an interrupt. */
export function refusal(code: string, message: string, cause?: unknown): unknown {
  if (code === "WF006") return new DeadlineExceeded(message, code, { cause });
  if (STOPS[code]) return new Interrupt(STOPS[code], message);
  // bad arguments, no such queue, too many steps: the program's own fault
  if (/^22|^WF01[025]$/.test(code)) return new DurableError(message, code, { cause });
  return new Interrupt("refused", message);
}

/** Whether the server or the way to it failed, not what was asked: ask again. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, severity } = error as { code?: unknown; severity?: unknown };
  if (severity !== undefined) return /^(08|25006|40|53|57|58)/.test(String(code));
  return typeof code === "string"
    ? /^(E[A-Z]+|CONNECT\w*)$/.test(code)
    : /connect|terminated|timeout|closed|queryable/i.test(error.message);
}
