# saathii_bus_stubs(NAME XML): the interface library saathii_bus_NAME, with the
# headers NAME_adaptor.hpp (for who serves) and NAME_proxy.hpp (for who calls),
# made of a description of D-Bus interfaces.

function(saathii_bus_stubs name xml)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/bus)
  set(headers ${folder}/${name}_adaptor.hpp ${folder}/${name}_proxy.hpp)
  file(MAKE_DIRECTORY ${folder})
  # The names that it is given become include guards: the same in every checkout.
  add_custom_command(
    OUTPUT ${headers}
    COMMAND ${SAATHII_XML2CPP} ${xml} --adaptor=${name}_adaptor.hpp --proxy=${name}_proxy.hpp
      > ${name}.log
    WORKING_DIRECTORY ${folder}
    DEPENDS ${xml}
    VERBATIM)
  add_custom_target(saathii_bus_${name}_stubs DEPENDS ${headers})
  add_library(saathii_bus_${name} INTERFACE)
  add_dependencies(saathii_bus_${name} saathii_bus_${name}_stubs)
  target_include_directories(saathii_bus_${name} SYSTEM INTERFACE ${folder})
  target_link_libraries(saathii_bus_${name} INTERFACE SDBusCpp::sdbus-c++)
endfunction()
