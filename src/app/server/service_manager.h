/* service_manager.h - what systemd wants to hear of a service of Type=notify, and hands to it. */
#ifndef DS4_APP_SERVER_SERVICE_MANAGER_H
#define DS4_APP_SERVER_SERVICE_MANAGER_H

#include <stddef.h>

/* Send a state ("READY=1", "STOPPING=1", "STATUS=...") to the manager that started the program;
 * nothing happens when there is none. Source: sd_notify(3), the protocol. */
void ds4_manager_tell(const char *state);

/* The path of a credential, as LoadCredential= leaves it (systemd.exec(5)). Returns out, or NULL
 * when the manager gave none of this name. */
const char *ds4_manager_credential(const char *name, char *out, size_t n_out);

#endif
