// The table of @grafana/ui imports the default of this CommonJS package from an .mjs file, where esbuild gives it the
// whole module, as Node.js does.
import { Scrollbars } from './node_modules/react-custom-scrollbars-2/lib/index.js';

export default Scrollbars;
