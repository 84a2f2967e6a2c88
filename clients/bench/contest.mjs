// What all contestants in JavaScript share: the protocol with `run`, see README.md.
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

export const STEPS = 10;
export const [mode, kind, concurrency, count, seconds] = process.argv
  .slice(2)
  .map((it) => (isNaN(it) ? it : Number(it)));
/** Of the contestant's pool, whoever it is. */
export const connections = Math.max(10, concurrency);
export const pool = () => new pg.Pool({ max: connections });

const said = (line) => process.stdout.write(`${line}\n`);

/** So many calls, not all at once. */
export async function each(calls, call) {
  let next = 0;
  const lane = async () => {
    while (next < calls) await call(next++);
  };
  await Promise.all(Array.from({ length: connections }, lane));
}

let total = 0;
let running = () => undefined;
/** A workflow's function begins to run: the one of that number. */
export const began = (n) => running(n);
/** A step of a workflow is done, or a job. */
export function did(value) {
  total++;
  return value;
}

/** `enqueue(first, number)` so many, numbered from the first; `work()` begins to run what is in the queue. */
export async function contest({ enqueue, work }) {
  await (mode === "latency" ? latency : throughput)(enqueue, work);
  await sleep(60_000); // it is ended from outside
}

/** Until all have ended, or the time is over; the first second is not counted. */
async function throughput(enqueue, work) {
  const all = kind === "workflow" ? count * STEPS : count;
  await enqueue(0, count);
  said("ready 0");
  await once(process.stdin, "data");
  await work();
  while (total === 0) await sleep(5);
  for (const warm = Date.now() + 1000; total < all / 10 && Date.now() < warm;) await sleep(5);
  said(`begin ${total}`);
  for (const over = Date.now() + seconds * 1000; total < all && Date.now() < over;) await sleep(5);
  said(`end ${total}`);
}

/** One after the other, each into an idle worker's queue. */
async function latency(enqueue, work) {
  await work();
  await sleep(1000);
  const over = Date.now() + seconds * 1000;
  for (let n = 0; n < count && Date.now() < over; n++) {
    const runs = new Promise((resolve) => (running = (it) => it === n && resolve(performance.now())));
    const since = performance.now();
    await enqueue(n, 1);
    said(`latency ${((await runs) - since) / 1000}`);
    await sleep(20 + Math.random() * 200); // not in step with who polls
  }
  said("end 0");
}
