from roomseg.cli import main

main()
