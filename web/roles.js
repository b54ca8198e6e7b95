// What whoever is logged in may do: what they may not is not drawn. The service refuses it all the same.

import { session } from './api.js';

const ROLES = ['read', 'operate', 'admin'];

/** Whether the caller has this role or a higher one. */
export function may(role) {
  return ROLES.indexOf(session.get()?.role) >= ROLES.indexOf(role);
}
