#include "saathii/runner/job_view.hpp"

namespace saathii::runner {

std::string_view to_string(JobView::State state) {
  switch (state) {
    case JobView::State::waiting:
      return "waiting";
    case JobView::State::running:
      return "running";
    case JobView::State::retrying:
      return "retrying";
    case JobView::State::standby:
      return "standby";
    case JobView::State::stuck:
      break;
  }
  return "stuck";
}

}  // namespace saathii::runner
