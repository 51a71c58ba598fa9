export { loadSafetensors, saveSafetensors } from './safetensors.js';
export { type Loaded, load, type Savable, save } from './save.js';
