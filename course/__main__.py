from course.command import main

main()
