import type { Span, SpanContext, Tracer } from "@opentelemetry/api";

import { describe } from "./errors";

type Api = typeof import("@opentelemetry/api");

/** What a span is about: a workflow, or an attempt of a step. */
export interface Subject {
  id: string;
  name: string;
  workflow: string;
  root: string;
  parent?: string;
  sequence?: number;
  attempt?: number;
}

const traceId = (workflow: string): string => workflow.replaceAll("-", "");
/** The low 8 bytes of an id; of a later attempt, with its number in the bits that are random. */
const spanId = (task: string, attempt = 1): string => {
  const low = BigInt(`0x${traceId(task).slice(16)}`) ^ (BigInt(attempt - 1) << 24n);
  return low.toString(16).padStart(16, "0");
};

let next: { traceId: string; spanId: string } | undefined;

const random = (digits: number): string =>
  Array.from({ length: digits }, () => Math.floor(Math.random() * 16).toString(16)).join("");

/** For the tracer provider (`idGenerator`): gives the spans of workflows and steps the ids that follow from theirs. */
export const idGenerator = {
  generateTraceId: (): string => next?.traceId ?? random(32),
  generateSpanId: (): string => next?.spanId ?? random(16),
};

/** Spans of OpenTelemetry, where its API is installed; else nothing. */
export class Telemetry {
  private readonly api?: Api;
  private readonly tracer?: Tracer;

  constructor(api?: Api) {
    this.api = api ?? installed();
    this.tracer = this.api?.trace.getTracer("durable-client");
  }

  /** Begins a span; what `run` does inside is its child. */
  start(subject: Subject): Running {
    if (!this.api || !this.tracer) return NONE;
    const { ROOT_CONTEXT, TraceFlags, trace, context } = this.api;
    const parent: SpanContext | undefined =
      subject.parent === undefined
        ? undefined
        : { traceId: traceId(subject.root), spanId: spanId(subject.parent), traceFlags: TraceFlags.SAMPLED };
    const within = parent ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT;
    const attributes = {
      "durable.workflow.id": subject.parent ?? subject.id,
      "durable.workflow.name": subject.workflow,
      ...(subject.attempt !== undefined && {
        "durable.step.name": subject.name,
        "durable.step.sequence": subject.sequence,
        "durable.attempt.number": subject.attempt,
      }),
    };
    next = { traceId: traceId(subject.root), spanId: spanId(subject.id, subject.attempt) };
    const span = this.tracer.startSpan(subject.name, { attributes }, within);
    next = undefined;
    const inside = trace.setSpan(within, span);
    return {
      end: (error) => {
        this.end(span, error);
      },
      run: (what) => context.with(inside, what),
    };
  }

  private end(span: Span, error: unknown): void {
    if (error !== undefined && this.api) {
      const { error: message } = describe(error);
      span.recordException(error instanceof Error ? error : message);
      span.setStatus({ code: this.api.SpanStatusCode.ERROR, message });
    }
    span.end();
  }
}

export interface Running {
  end(error?: unknown): void;
  run<T>(what: () => T): T;
}
const NONE: Running = { end: () => undefined, run: (what) => what() };

function installed(): Api | undefined {
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- it need not be there
    return require("@opentelemetry/api") as Api;
  } catch {
    return undefined;
  }
}
