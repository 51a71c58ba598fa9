import { byteWidth, type DType } from '../dtype.js';
import { ShapeError } from '../errors.js';
import { os } from '../node.js';

/** Bytes of memory this process may have: the machine's, or less where a container or a control group says so. */
function memory(): number {
  const limit = process.constrainedMemory?.() ?? 0;
  const all = os().totalmem();
  return limit > 0 ? Math.min(limit, all) : all;
}

/**
 * Refuses a matrix of derivatives, rows × columns, that is larger than the memory of this machine: with the bytes it would
 * need, before anything is allocated.
 */
export function checkFits(op: string, rows: number, columns: number, dtype: DType, instead: string): void {
  const bytes = BigInt(rows) * BigInt(columns) * BigInt(byteWidth(dtype));
  const available = memory();
  if (bytes <= BigInt(Math.floor(available))) return;
  const gigabytes = (n: number): string => (n / 1e9).toLocaleString('en-US', { maximumFractionDigits: 1 });
  throw new ShapeError(
    `${op}: ${rows} × ${columns} derivatives in ${dtype} need ${bytes} bytes (${gigabytes(Number(bytes))} GB), and ` +
      `there are ${gigabytes(available)} GB of memory; ${instead}`,
  );
}
