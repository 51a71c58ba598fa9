export { loadSafetensors, saveSafetensors } from './safetensors.js';
export { type Loaded, load, save } from './save.js';
