import { App } from "durable-client";
import { began, concurrency, contest, did, kind, pool, STEPS } from "./contest.mjs";

const setup = pool();
await setup.query("CREATE EXTENSION durable");
const app = new App({ pool: pool() });
await app.createQueue("default");

const program = app.workflow(
  "program",
  async (ctx, n) => {
    began(n);
    if (kind === "job") return did();
    for (let step = 0; step < STEPS; step++) await ctx.step(`step-${step}`, () => did({ step }));
  },
  { fused: process.env.BENCH_FUSED !== undefined },
);

await contest({
  enqueue: (first, number) =>
    Promise.all(Array.from({ length: number }, (_, i) => program.start(`w-${first + i}`, first + i))),
  work: () => void app.run({ concurrency }),
});
