import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ArgumentError } from '../errors.js';
import { describe } from '../program/view.js';

/** The argument as a path, or an ArgumentError. */
export function checkPath(op: string, path: unknown): string {
  if (path instanceof URL) return fileURLToPath(path);
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw new ArgumentError(`${op}: the path is a string or a file URL, not ${describe(path)}`);
  }
  return path;
}

/**
 * Writes a file so that `path` holds either what it held before or all that `write` wrote, whenever the process or the
 * machine stops: into a new file beside it, flushed to the disk, which then takes its name.
 */
export function writeAtomically(path: string, write: (fd: number) => void): void {
  let target = path;
  let mode: number | null = null;
  try {
    target = realpathSync(path); // replace the file that a link names, not the link
    mode = statSync(target).mode & 0o777;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const folder = dirname(target);
  const temporary = join(folder, `.${basename(target)}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`);
  const fd = openSync(temporary, 'wx');
  let open = true;
  try {
    if (mode !== null) fchmodSync(fd, mode);
    write(fd);
    fsyncSync(fd);
    open = false;
    closeSync(fd);
    renameSync(temporary, target);
  } catch (error) {
    if (open) closeSync(fd);
    unlinkSync(temporary);
    throw error;
  }
  syncFolder(folder);
}

/** Flushes the new name itself, where the system can do that (Windows cannot open folders). */
function syncFolder(folder: string): void {
  try {
    const fd = openSync(folder, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    // the content is safe already; only the renaming may be lost with the power
  }
}
