#include "saathii/jobs/isolate.hpp"

#include "saathii/base/errors.hpp"
#include "saathii/postgres/session.hpp"

namespace saathii::jobs {

bool may_be_fault_of_a_row(const std::exception& error) {
  if (const auto* sql = dynamic_cast<const pqxx::sql_error*>(&error)) {
    // Data, constraints, what a trigger raises, a damaged page.
    const std::string_view state = sql->sqlstate();
    return state.starts_with("22") || state.starts_with("23") || state.starts_with("P0") ||
           state.starts_with("XX");
  }
  return dynamic_cast<const std::runtime_error*>(&error) != nullptr &&
         dynamic_cast<const Unavailable*>(&error) == nullptr &&
         dynamic_cast<const Deposed*>(&error) == nullptr &&
         dynamic_cast<const Stopped*>(&error) == nullptr;
}

}  // namespace saathii::jobs
