export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** What is left of a value that was written as JSON and read again. */
export type Recorded<T> = T extends Json
  ? T
  : T extends undefined
    ? null
    : T extends { toJSON(): infer R }
      ? R
      : T extends (...args: never[]) => unknown
        ? never
        : T extends object
          ? { [K in keyof T]: Recorded<T[K]> }
          : T;

/** A pair of functions between a program's values and those that JSON can write. */
export interface Codec {
  encode(value: unknown): unknown;
  decode(value: unknown): unknown;
}

/** A value that JSON cannot write, or jsonb cannot keep. */
export class NotSerializable extends TypeError {
  override name = "NotSerializable";
}

const bytes = (text: string): number => Buffer.byteLength(text);

/** In the order of jsonb's keys: the shorter first. */
function byKey([a]: [string, unknown], [b]: [string, unknown]): number {
  return bytes(a) - bytes(b) || Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** A copy of the value as it comes back from jsonb; what cannot be written is named by its path. */
export function plain(value: unknown, path: string, key = "", parents: readonly object[] = []): unknown {
  const refuse = (what: string): never => {
    throw new NotSerializable(`${path} is ${what}, which JSON cannot hold`);
  };
  if (typeof value === "object" && typeof (value as { toJSON?: unknown } | null)?.toJSON === "function") {
    value = (value as { toJSON(key: string): unknown }).toJSON(key);
  }
  switch (typeof value) {
    case "string":
      if (value.includes("\0")) refuse("a string with a NUL character");
      return value.isWellFormed() ? value : refuse("a string with half of a surrogate pair");
    case "number":
      return Number.isFinite(value) ? value + 0 : refuse(String(value));
    case "boolean":
    case "undefined":
      return value;
    case "object":
      break;
    default:
      return refuse(`a ${typeof value}`);
  }
  if (value === null) return null;
  if (parents.includes(value)) refuse("a part of itself");
  if ("then" in value && typeof value.then === "function") refuse("a promise that was not awaited");
  if (value instanceof Map || value instanceof Set || ArrayBuffer.isView(value)) refuse(`a ${value.constructor.name}`);
  const within = [...parents, value];
  if (Array.isArray(value)) return value.map((item, i) => plain(item, `${path}[${i}]`, String(i), within) ?? null);
  const entries = Object.entries(value)
    .map(([name, item]): [string, unknown] => [
      plain(name, `a key of ${path}`) as string,
      plain(item, `${path}.${name}`, name, within),
    ])
    .filter(([, item]) => item !== undefined);
  return Object.fromEntries(entries.sort(byKey));
}

/** A value as it is sent, and as the server keeps it. */
export interface Written {
  text: string | null;
  value: unknown;
}

export class Serializer {
  constructor(private readonly codec?: Codec) {}

  /** @param where what the value is of, for the error */
  write(value: unknown, where: string): Written {
    const kept = plain(this.codec ? this.codec.encode(value) : value, `${where}: $`);
    return {
      text: kept == null ? null : JSON.stringify(kept),
      value: this.codec ? this.codec.decode(kept ?? null) : (kept ?? null),
    };
  }

  read(text: string | null | undefined): unknown {
    const value: unknown = text == null ? null : JSON.parse(text);
    return this.codec ? this.codec.decode(value) : value;
  }
}
