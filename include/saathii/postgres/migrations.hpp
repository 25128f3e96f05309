#pragma once

#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

#include "saathii/postgres/pool.hpp"

namespace saathii::postgres {

/// The version of schema saathii_tasks that this program reads and writes.
extern const int known_schema_version;

/// The database's schema is of a later version: what this program would read and
/// write there may mean something else.
class NewerSchema : public std::runtime_error {
 public:
  explicit NewerSchema(int found);
};

/// Throws NewerSchema for a session of such a database. Asks once a session; a
/// schema that is missing or cannot be read is for who uses it to find out.
void require_known_schema(Session& session);

/// The version that the database has; 0 where it has none. Worker thread;
/// throws Unavailable.
[[nodiscard]] int schema_version(Pool& pool, const std::stop_token& stop);

/// Brings the schema to known_schema_version and returns a line for each thing
/// done, none if there was nothing to do. Several may call it at once: one
/// works, the others wait for it. Needs the owner of the platform's tables, for
/// their indexes; writers are not blocked. Throws NewerSchema, Unavailable, or the
/// server's error.
std::vector<std::string> migrate(Pool& pool, const std::stop_token& stop);

}  // namespace saathii::postgres
