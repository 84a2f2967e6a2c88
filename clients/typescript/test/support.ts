import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createServer, connect, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { after, test } from "node:test";
import assert from "node:assert/strict";
import pg from "pg";
import postgres from "postgres";
import { App, type AnyPool, type AppOptions, type Worker, type WorkerOptions } from "../src";

const { PGHOST: host = "/tmp", PGPORT = "5432", PGUSER: user = "postgres", PGDATABASE: database } = process.env;
const port = Number(PGPORT);

export const drivers = ["pg", "postgres"] as const;
export type Driver = (typeof drivers)[number];

export interface Where {
  host?: string;
  port?: number;
  database?: string;
}

/** The program itself asks by this one. */
export const admin = new pg.Pool({ max: 3 });
admin.on("error", () => undefined);
after(() => admin.end());

export async function query(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  for (let tries = 0; ; tries++) {
    try {
      return (await admin.query(text, values)).rows as Record<string, unknown>[];
    } catch (error) {
      if (tries > 100 || (error as { code?: string }).code?.startsWith("2")) throw error;
      await sleep(0.1);
    }
  }
}

export function pool(driver: Driver, where: Where = {}, max = 10): AnyPool {
  const common = { host, port, database, max, ...where };
  return driver === "pg"
    ? new pg.Pool({ user, ...common })
    : postgres({ username: user, onnotice: () => undefined, connect_timeout: 2, fetch_types: false, ...common }); // see README.md
}

export const sleep = (seconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

export async function until(what: () => Promise<unknown> | unknown, seconds = 20): Promise<void> {
  for (const end = performance.now() + seconds * 1000; !(await what()); await sleep(0.02)) {
    assert.ok(performance.now() < end, `still not after ${seconds} s: ${what.toString()}`);
  }
}

/** An app with a queue of its own. */
export class Fixture {
  readonly tag = randomBytes(4).toString("hex");
  readonly queue = `q-${this.tag}`;
  readonly pool: AnyPool;
  readonly app: App;
  readonly log: string[] = [];
  private readonly workers: { worker: Worker; done: Promise<void> }[] = [];

  constructor(
    readonly driver: Driver,
    options: Partial<AppOptions<AnyPool>> = {},
    where: Where = {},
  ) {
    this.pool = pool(driver, where);
    const say = (...args: unknown[]): void => void this.log.push(args.map(String).join(" "));
    this.app = new App({ pool: this.pool, logger: { info: say, warn: say, error: say }, ...options });
  }

  work(options: WorkerOptions = {}): Worker {
    const worker = this.app.worker({ queues: [this.queue], ...options });
    this.workers.push({ worker, done: worker.run() });
    return worker;
  }

  /** By the driver's own way. */
  async sql(text: string, values: unknown[] = [], on: unknown = this.pool): Promise<Record<string, unknown>[]> {
    if (typeof on === "function" || (on as { unsafe?: unknown }).unsafe) {
      return [...(await (on as postgres.Sql).unsafe(text, values as string[]))];
    }
    return (await (on as pg.Pool).query(text, values)).rows as Record<string, unknown>[];
  }

  async end(): Promise<void> {
    for (const { worker } of this.workers) worker.stop();
    await Promise.all(this.workers.map(({ done }) => done));
    // postgres.js never ends a connection that a FATAL error has closed, unless it is given a time
    await (this.driver === "pg" ? this.pool.end() : (this.pool as postgres.Sql).end({ timeout: 1 }));
    assert.deepEqual(await query("SELECT * FROM durable.check()"), []);
  }
}

/** A test with each driver. */
export function both(
  name: string,
  body: (fixture: Fixture) => Promise<void>,
  options?: Partial<AppOptions<AnyPool>>,
): void {
  for (const driver of drivers) {
    test(`${name} (${driver})`, { timeout: 60_000 }, async () => {
      const fixture = new Fixture(driver, options);
      await fixture.app.createQueue(fixture.queue);
      try {
        await body(fixture);
      } finally {
        await fixture.end();
      }
    });
  }
}

export const history = (id: string): Promise<Record<string, unknown>[]> =>
  query("SELECT sequence, name, kind, status, attempt, output, error, detail FROM durable.history($1)", [id]);

/** A server in between that can lose an answer: what was asked is done, and the connection gone. */
export class Between {
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private mute = new Set<Socket>();
  private match?: string;
  lost = 0;
  port = 0;

  constructor() {
    this.server = createServer((client) => {
      const upstream = connect(`${host}/.s.PGSQL.${port}`);
      let isLosing = false;
      const end = (): void => {
        client.destroy();
        if (!isLosing) upstream.destroy();
      };
      for (const socket of [client, upstream]) {
        this.sockets.add(socket);
        socket.on("error", end).on("close", end);
      }
      client.on("data", (data) => {
        if (this.mute.has(client)) return;
        if (this.match !== undefined && data.includes(this.match)) {
          this.match = undefined;
          this.lost++;
          isLosing = true;
        }
        upstream.write(data);
      });
      upstream.on("data", (data) => {
        if (this.mute.has(client)) return;
        if (!isLosing) return void client.write(data);
        client.destroy();
        setTimeout(() => upstream.destroy(), 200);
      });
    });
  }

  async listen(): Promise<this> {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    this.port = (this.server.address() as { port: number }).port;
    return this;
  }
  /** The answer to the next message with that text is lost. */
  lose(match: string): void {
    this.match = match;
  }
  /** The connections that there are now carry nothing more, and nobody is told. */
  silence(): void {
    this.mute = new Set(this.sockets);
  }
  /** Ends the connections that there are, silent ones too: a pool waits for each of its own to close. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }
  close(): void {
    this.cut();
    this.server.close();
  }
}

/** A program of its own, to be killed: a module of test/programs. */
export function program(name: string, env: Record<string, string>): ChildProcess & { lines: string[] } {
  const child = spawn(process.execPath, ["--import", "tsx", `${__dirname}/programs/${name}.ts`], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: string[] = [];
  child.stdout.on("data", (data: Buffer) => lines.push(...data.toString().trimEnd().split("\n")));
  after(() => child.kill("SIGKILL"));
  return Object.assign(child, { lines });
}

/** Restarts the server, while this process goes on. */
export async function restart(mode: "fast" | "immediate"): Promise<void> {
  const command = ["pg_ctl", "-D", `${host}/data`, "-l", `${host}/server.log`, "-m", mode, "-w", "restart"];
  const asOwner = process.getuid?.() === 0 ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] : [];
  const [file = "", ...args] = [...asOwner, ...command];
  const bindir = execFileSync("pg_config", ["--bindir"]).toString().trim();
  const env = { ...process.env, PATH: `${bindir}:${process.env.PATH}` };
  const [status] = (await once(spawn(file, args, { env, stdio: "ignore" }), "exit")) as [number];
  assert.equal(status, 0);
}
