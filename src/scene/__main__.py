from scene.cli import main

main()
