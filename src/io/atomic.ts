import { ArgumentError } from '../errors.js';
import { basename, crypto, dirname, fileURLToPath, fs, join } from '../node.js';
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
    target = fs.realpathSync(path); // replace the file that a link names, not the link
    mode = fs.statSync(target).mode & 0o777;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const folder = dirname(target);
  const temporary = join(
    folder,
    `.${basename(target)}.${process.pid}.${crypto().randomBytes(6).toString('hex')}.tmp`,
  );
  const fd = fs.openSync(temporary, 'wx');
  let open = true;
  try {
    if (mode !== null) fs.fchmodSync(fd, mode);
    write(fd);
    fs.fsyncSync(fd);
    open = false;
    fs.closeSync(fd);
    fs.renameSync(temporary, target);
  } catch (error) {
    if (open) fs.closeSync(fd);
    fs.unlinkSync(temporary);
    throw error;
  }
  syncFolder(folder);
}

/** Flushes the new name itself, where the system can do that (Windows cannot open folders). */
function syncFolder(folder: string): void {
  try {
    const fd = fs.openSync(folder, 'r');
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    // the content is safe already; only the renaming may be lost with the power
  }
}
