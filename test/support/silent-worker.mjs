// Workers do not inherit the loader that was given by --import.
import { register } from 'tsx/esm/api';

register();
await import('./silent-worker.ts');
