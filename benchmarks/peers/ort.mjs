// A peer of npm run bench:peers: onnxruntime-node, predictions only. Usage: node ort.mjs THREADS
//
// The networks are written as ONNX models here: a model is a protobuf message (onnx.proto), of which a few fields do.
import { createRequire } from 'node:module';
import process from 'node:process';
import { serve, sizesOf } from './serve.mjs';

/** An unsigned integer in protobuf's variable length. */
function varint(n) {
  const bytes = [];
  for (; n >= 128; n = Math.floor(n / 128)) bytes.push((n % 128) + 128);
  return Buffer.from([...bytes, n]);
}

const int = (field, n) => Buffer.concat([varint(field * 8), varint(n)]);
const message = (field, ...parts) => {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
  return Buffer.concat([varint(field * 8 + 2), varint(body.length), body]);
};

/** TensorProto: dims 1, data_type 2 (1 is float), name 8, raw_data 9. */
const initializer = (name, dims, values) =>
  message(
    5,
    ...dims.map((d) => int(1, d)),
    int(2, 1),
    message(8, name),
    message(9, Buffer.from(values.buffer)),
  );

/** ValueInfoProto: name 1, type 2 { tensor_type 1 { elem_type 1, shape 2 { dim 1 { dim_value 1 } } } }. */
const value = (field, name, dims) =>
  message(
    field,
    message(1, name),
    message(2, message(1, int(1, 1), message(2, ...dims.map((d) => message(1, int(1, d)))))),
  );

/** NodeProto: input 1, output 2, op_type 4. */
const operation = (type, inputs, output) =>
  message(1, ...inputs.map((name) => message(1, name)), message(2, output), message(4, type));

/** ModelProto: ir_version 1, graph 7, opset_import 8 { domain 1, version 2 }; GraphProto: node 1, name 2, initializer 5. */
function model(sizes, batch) {
  const parts = [message(2, 'net')];
  let last = 'x';
  sizes.slice(1).forEach((n, i) => {
    const scale = 1 / Math.sqrt(sizes[i]);
    const weights = Float32Array.from({ length: sizes[i] * n }, () => (Math.random() * 2 - 1) * scale);
    parts.push(initializer(`w${i}`, [sizes[i], n], weights), initializer(`b${i}`, [n], new Float32Array(n)));
    const hidden = i + 2 < sizes.length;
    parts.push(operation('Gemm', [last, `w${i}`, `b${i}`], hidden ? `z${i}` : 'y'));
    if (hidden) parts.push(operation('Relu', [`z${i}`], `h${i}`));
    last = `h${i}`;
  });
  parts.push(value(11, 'x', [batch, sizes[0]]), value(12, 'y', [batch, sizes[sizes.length - 1]]));
  return Buffer.concat([int(1, 8), message(7, ...parts), message(8, message(1, ''), int(2, 17))]);
}

await serve(async () => {
  const require = createRequire(import.meta.url);
  const ort = require('onnxruntime-node');
  const threads = Number(process.argv[2] ?? 1);
  const make = async (kind, [sizeList, batchText]) => {
    if (kind !== 'forward') throw new Error(`there is no ${kind}`);
    const sizes = sizesOf(sizeList);
    const batch = Number(batchText);
    const session = await ort.InferenceSession.create(model(sizes, batch), {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: 'all',
    });
    const data = Float32Array.from({ length: batch * sizes[0] }, () => Math.random());
    const feeds = { x: new ort.Tensor('float32', data, [batch, sizes[0]]) };
    return () => session.run(feeds);
  };
  return { version: ort.env.versions.node ?? ort.env.versions.common, make };
});
