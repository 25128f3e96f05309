#include "refusal.hpp"

#include "saathii/base/errors.hpp"
#include "saathii/log/log.hpp"
#include "saathii/runner/runner.hpp"
#include "saathii/runner/side_worker.hpp"

namespace saathii::control {

namespace {

sdbus::Error named(const char* name, const std::string& message) {
  return make_error(std::string("com.saathiiapp.Tasks1.Error.") + name, message);
}

const char* name_of(runner::JobError::Why why) {
  switch (why) {
    case runner::JobError::Why::unknown_job:
      return "UnknownJob";
    case runner::JobError::Why::busy:
      return "AlreadyWaiting";
    case runner::JobError::Why::stopping:
      return "ShuttingDown";
    case runner::JobError::Why::standby:
      return "Standby";
  }
  return "Failed";
}

}  // namespace

sdbus::Error to_bus_error(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Refusal& refusal) {
    return named(refusal.name(), refusal.what());
  } catch (const runner::JobError& refusal) {
    return named(name_of(refusal.why()), refusal.what());
  } catch (const runner::Overloaded& refusal) {
    return named("Overloaded", refusal.what());
  } catch (const Unavailable& fault) {
    return named("Unavailable", fault.what());
  } catch (const Stopped&) {
    return named("ShuttingDown", "saathiid is shutting down");
  } catch (const std::exception& fault) {
    log::warning(std::string("a request on the bus failed: ") + fault.what());
    return named("Failed", fault.what());
  } catch (...) {
    return named("Failed", "a fault that is no exception");
  }
}

}  // namespace saathii::control
