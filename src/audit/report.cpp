#include "saathii/audit/report.hpp"

#include <algorithm>

namespace saathii::audit {

std::string_view to_string(Result result) {
  switch (result) {
    case Result::violated:
      return "violated";
    case Result::not_checked:
      return "not_checked";
    case Result::holds:
      break;
  }
  return "holds";
}

std::string_view to_string(Repair::What what) {
  switch (what) {
    case Repair::What::add_spend:
      return "add_spend";
    case Repair::What::settle:
      return "settle";
    case Repair::What::give_back:
      break;
  }
  return "give_back";
}

bool Report::is_violated() const {
  return std::ranges::any_of(
      findings, [](const Finding& finding) { return finding.result == Result::violated; });
}

}  // namespace saathii::audit
