export { App, Handle, Workflow } from "./app";
export type { AppOptions, Event, ForkOptions, QueueOptions, StartOptions, WorkflowOptions } from "./app";
export { Context, Pending } from "./context";
export type {
  ChildOptions,
  FirstOptions,
  Program,
  Retry,
  Signal,
  Step,
  StepOptions,
  WaitOptions,
  WorkflowFunction,
} from "./context";
export { Cancelled, DeadlineExceeded, DurableError, Failed, Fatal, Interrupt, RetryAfter, TimedOut } from "./errors";
export type { StopReason } from "./errors";
export { NotSerializable } from "./json";
export type { Codec, Json, Recorded } from "./json";
export type { AnyPool, Connection, Duration, Row, Transaction } from "./sql";
export { idGenerator } from "./telemetry";
export { replay, TestContext } from "./testing";
export type { Difference, TestOptions } from "./testing";
export { Worker } from "./worker";
export type { WorkerOptions } from "./worker";
