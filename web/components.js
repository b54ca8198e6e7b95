// Everything that pages are made of.

export { Dialog, confirm } from './components/dialog.js';
export { Choice, CheckField, Chips, Field, RangeField, SearchField, SelectField, Tabs, TextField } from './components/form.js';
export { Icon } from './components/icons.js';
export {
  Badge, Button, Card, Code, Empty, Failed, Figure, Figures, Keys, Loaded, Loading, Meter, Progress, State, TaskProgress,
} from './components/parts.js';
export { RunCard } from './components/run.js';
export { Table } from './components/table.js';
