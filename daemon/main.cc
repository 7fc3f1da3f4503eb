// weftd: front end and worker in one process, with the stock handlers.
#include <weft/worker.h>

int main(int argc, char** argv) { return weft::Worker().main(argc, argv); }
